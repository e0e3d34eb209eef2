//! Ctrl-C during a run.

#![cfg(unix)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{listing, parity, program};

#[test]
fn an_interrupted_run_leaves_no_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = program(folder.path())
        .args(["generate", "--model"])
        .arg(parity("sd15/model"))
        .args([
            "-p",
            "cat",
            "--sampler",
            "ddim",
            "--steps",
            "20",
            "--count",
            "100",
        ])
        .args(["--width", "16", "--height", "16", "-o", "cat.png"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let started = Instant::now();
    while !folder.path().join("cat-0.png").exists() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no first sample"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(
        child.try_wait().expect("its state").is_none(),
        "still running"
    );
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .expect("kill starts");
    assert!(sent.success());
    let asked = Instant::now();
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(asked.elapsed() < Duration::from_secs(10));
    assert!(
        stderr.contains("error: cancelled by an interrupt"),
        "{stderr}"
    );
    // Samples that were finished before are whole: a picture and its .json each.
    let left = listing(folder.path());
    assert_eq!(left.len() % 2, 0, "{left:?}");
    for name in &left {
        let whole =
            name.ends_with(".json") || vldm_media::read_image(folder.path().join(name)).is_ok();
        assert!(whole, "{name}");
    }
}
