//! Running the program, and reading what it wrote.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// The program, in `folder`.
pub(crate) fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vldm"));
    command.current_dir(folder);
    command
}

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program in `folder`; `line` is split at spaces.
pub(crate) fn run(folder: &Path, line: &str) -> Ran {
    ran(program(folder).args(line.split_whitespace()))
}

/// Commands that compute in bf16 where the processor is fast at it.
const COMPUTING: [&str; 7] = [
    "generate",
    "drive",
    "interpolate",
    "upsample",
    "encode",
    "decode",
    "bench",
];

/// Has the program compute in f32 unless the command says otherwise: the same on every machine.
fn in_f32(command: &mut Command) {
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_owned())
        .collect();
    let computes = arguments
        .first()
        .and_then(|name| name.to_str())
        .is_some_and(|name| COMPUTING.contains(&name));
    if computes && !arguments.iter().any(|argument| argument == "--dtype") {
        command.args(["--dtype", "f32"]);
    }
}

/// Runs the program with `arguments` as they are, in f32 unless they say otherwise.
pub(crate) fn ran(command: &mut Command) -> Ran {
    in_f32(command);
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the program starts");
    Ran {
        status: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// A file or folder of the parity fixtures.
pub(crate) fn parity(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vldm/tests/parity")
        .join(path)
        .canonicalize()
        .expect("the fixture is there")
}

/// The names of what lies in a folder, sorted.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = folder
        .read_dir()
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

/// Shape and values of an f32 tensor.
pub(crate) fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).expect("readable");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let view = file.tensor(name).expect("the tensor is there");
    assert_eq!(view.dtype(), Dtype::F32);
    let values = view
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")));
    (view.shape().to_vec(), values.collect())
}

/// Asserts that two files hold the same f32 tensor, within `bound` everywhere.
pub(crate) fn assert_close(got: &Path, expected: &Path, name: &str, bound: f32) {
    let (got_shape, got) = tensor(got, name);
    let (shape, expected) = tensor(expected, name);
    assert_eq!(got_shape, shape, "{name}");
    let error = |(a, b): (&f32, &f32)| (a - b).abs();
    let worst = got.iter().zip(&expected).map(error).fold(0.0, f32::max);
    assert!(got.iter().all(|value| value.is_finite()), "{name}");
    assert!(
        worst <= bound,
        "{name}: off by {worst}, at most {bound} expected"
    );
}

/// Copies a safetensors file, with value `index` of the f32 tensor `name` set to `value`.
pub(crate) fn change(from: &Path, to: &Path, (name, index, value): (&str, usize, f32)) {
    let bytes = std::fs::read(from).expect("readable");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let mut data: HashMap<String, Vec<u8>> = HashMap::new();
    for (tensor, view) in file.tensors() {
        let mut values = view.data().to_vec();
        if tensor == name {
            values[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
        }
        data.insert(tensor, values);
    }
    let tensors = file.tensors().into_iter().map(|(tensor, view)| {
        let values = &data[&tensor];
        let copy = TensorView::new(view.dtype(), view.shape().to_vec(), values);
        (tensor, copy.expect("of the same size"))
    });
    safetensors::serialize_to_file(tensors, None, to).expect("writable");
}
