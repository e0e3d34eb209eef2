//! Whole stacks of tiny models with random weights: what holds whatever the weights are.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use vldm::conditioning::boxes::ObjectBox;
use vldm::model::{LoadSettings, ModelDescription};
use vldm::pipeline::{
    ClipPlan, ClipProgress, ClipRun, FinishedClip, GenerateRequest, Generation, GivenTensors,
    LastStage, Plan, Progress, Rollout, RolloutFolder, RolloutPlan, RolloutProgress,
    RolloutRequest, Segment, StackDescription, Wishes, first_frame, given_after,
};
use vldm::preset::{Preset, Stage};

fn stack(preset: &str) -> StackDescription {
    let preset = Preset::load(preset).expect("a preset");
    let stack = StackDescription::from_preset(&preset, 3).expect("a stack");
    [
        Stage::Image,
        Stage::Boxes,
        Stage::KeyFrames,
        Stage::Prediction,
        Stage::Interpolation,
        Stage::Upsampler,
    ]
    .into_iter()
    .fold(stack, |stack, stage| stack.with_steps(stage, 2))
}

fn onto() -> (Device, DType) {
    (Device::flex(), DType::F32)
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec().expect("f32")
}

fn run(stack: &StackDescription, request: &GenerateRequest, last: LastStage) -> Vec<FinishedClip> {
    let plan = ClipPlan::new(stack, request, (Some(last), 4)).expect("a plan");
    let mut finished = Vec::new();
    for progress in ClipRun::new(stack, plan, onto()) {
        if let ClipProgress::Finished(clip) = progress.expect("a step") {
            finished.push(*clip);
        }
    }
    finished
}

fn request(frames: usize) -> GenerateRequest {
    GenerateRequest {
        prompt: Some("a road".into()),
        frames: Some(frames),
        seed: 5,
        ..GenerateRequest::default()
    }
}

#[test]
fn frames_follow_the_rule_of_any_length() {
    let stack = stack("tiny-stack-text-to-video");
    let check = |frames, key_frames, generated, distance| {
        let plan = ClipPlan::new(&stack, &request(frames), (None, 4)).expect("a plan");
        assert_eq!(plan.frames, frames);
        assert_eq!(
            (plan.key_frames, plan.generated_frames()),
            (key_frames, generated)
        );
        assert_eq!(plan.attention_distance, distance);
    };
    check(113, 8, 113, None);
    check(100, 8, 113, None);
    check(20, 8, 113, None);
    check(175, 12, 177, Some(8));
}

#[test]
fn a_clip_goes_the_whole_way_and_is_its_seed_s() {
    let stack = stack("tiny-stack-text-to-video");
    let clips = run(
        &stack,
        &GenerateRequest {
            count: 2,
            ..request(18)
        },
        LastStage::Interpolation,
    );
    assert_eq!(clips.len(), 2);
    for clip in &clips {
        assert_eq!(clip.clip.num_frames(), 18);
        assert_eq!(clip.latents.dims()[1], 18);
    }
    assert_ne!(values(&clips[0].latents), values(&clips[1].latents));
    let alone = GenerateRequest {
        seed: 6,
        ..request(18)
    };
    let alone = run(&stack, &alone, LastStage::Interpolation);
    assert_eq!(values(&clips[1].latents), values(&alone[0].latents));
}

#[test]
fn the_upsampler_enlarges_what_was_decoded() {
    let stack = stack("tiny-stack-text-to-video");
    let mut request = request(3);
    request.width = Some(128);
    request.height = Some(128);
    let clip = run(&stack, &request, LastStage::Upsampler).remove(0).clip;
    assert_eq!(
        (clip.num_frames(), clip.width(), clip.height()),
        (3, 128, 128)
    );
}

fn key_frames_of(stack: &StackDescription) -> Vec<f32> {
    values(&run(stack, &request(3), LastStage::KeyFrames)[0].latents)
}

/// Weights of a stack's key-frame model from another seed, or the same.
fn personal(preset: &str, seed: u64) -> ModelDescription {
    let preset = Preset::load(preset).expect("a preset");
    ModelDescription::from_preset(&preset, seed).expect("a model")
}

#[test]
fn a_personal_model_of_the_same_weights_changes_nothing() {
    let plain = stack("tiny-stack-text-to-video");
    let same = personal("tiny-sd21-video", 3);
    let same = plain.clone().with_personal(&same).expect("it fits");
    assert_eq!(key_frames_of(&same), key_frames_of(&plain));
}

#[test]
fn a_personal_model_changes_pictures_and_must_fit() {
    let plain = stack("tiny-stack-text-to-video");
    let other = personal("tiny-sd21", 9);
    let personal_stack = plain.clone().with_personal(&other).expect("it fits");
    assert_ne!(key_frames_of(&personal_stack), key_frames_of(&plain));
    let error = plain
        .with_personal(&personal("tiny-driving", 9))
        .expect_err("it reads no text");
    assert!(error.to_string().contains("cannot stand in"), "{error}");
    let unpaired = GenerateRequest {
        prompt: Some("a (sks car".into()),
        ..request(3)
    };
    let error = ClipPlan::new(&personal_stack, &unpaired, (None, 4)).expect_err("half a pair");
    assert!(error.to_string().contains("other half"), "{error}");
}

fn rollout_request() -> RolloutRequest {
    RolloutRequest {
        wishes: Wishes {
            labels: [("night".to_owned(), 1)].into(),
            ..Wishes::default()
        },
        seconds: 5.0,
        start_seed: 1,
        seed: 2,
    }
}

#[test]
fn a_longer_rollout_takes_more_segments_and_no_more_memory() {
    let stack = stack("tiny-stack-driving");
    let plan = |seconds| {
        let request = RolloutRequest {
            seconds,
            ..rollout_request()
        };
        RolloutPlan::new(&stack, &request).expect("a plan")
    };
    let (short, long) = (plan(5.0), plan(300.0));
    assert_eq!((short.frames, short.segments), (150, 2));
    // Ten key frames in the first window, eight new ones in every other, and sixteen frames from one to
    // the next.
    assert_eq!((long.frames, long.segments), (9000, 71));
    let memory = |plan: &RolloutPlan| plan.memory(&stack, (14, 4)).expect("both stages");
    assert_eq!(memory(&short), memory(&long));
    let calls = |plan: &RolloutPlan| plan.network_frames[1].1;
    // Eight gaps between key frames in a segment, and one more in the first.
    let gaps = |plan: &RolloutPlan| 8 * plan.segments + 1;
    assert_eq!(gaps(&short) * calls(&long), gaps(&long) * calls(&short));
}

fn segments(stack: &StackDescription, given: Tensor<5>, next: usize) -> Vec<Segment> {
    let rollout = Rollout::new(stack, rollout_request(), (given, next), onto()).expect("a rollout");
    rollout
        .filter_map(|progress| match progress.expect("a step") {
            RolloutProgress::Segment(segment) => Some(*segment),
            RolloutProgress::Stepped { .. } => None,
        })
        .collect()
}

#[test]
fn a_rollout_goes_on_where_it_was_interrupted() {
    let stack = stack("tiny-stack-driving");
    let start = first_frame(&stack, &rollout_request(), onto()).expect("a first frame");
    let whole = segments(&stack, start.clone(), 0);
    assert_eq!(whole.len(), 2);
    let temporary = tempfile::tempdir().expect("a folder");
    let path = temporary.path().join("rollout");
    let open = |request: &RolloutRequest, given: bool, stack: &StackDescription| {
        RolloutFolder::open(&path, (request, given), stack, &Device::flex())
    };
    let folder = open(&rollout_request(), true, &stack).expect("new");
    folder.keep_start(&start).expect("written");
    folder.keep(&whole[0]).expect("written");

    let folder = open(&rollout_request(), true, &stack).expect("again");
    let kept = folder.segment(0).expect("whole").expect("there");
    assert!(folder.segment(1).expect("no error").is_none());
    assert_eq!(
        values(&folder.start().expect("whole").expect("there")),
        values(&start)
    );
    let rest = segments(&stack, given_after(&kept), 1);
    assert_eq!(rest.len(), 1);
    assert_eq!(values(&rest[0].frames), values(&whole[1].frames));
    // The first frame is the one that was given.
    assert_eq!(
        values(&whole[0].frames.clone().narrow(1, 0, 1)),
        values(&start)
    );

    let other = RolloutRequest {
        seed: 9,
        ..rollout_request()
    };
    let another = |error: vldm::Error| {
        assert!(error.to_string().contains("another rollout"), "{error}");
    };
    another(open(&other, true, &stack).expect_err("another seed"));
    another(open(&rollout_request(), false, &stack).expect_err("a generated first frame"));
    folder.check_start(&start).expect("the same first frame");
    another(folder.check_start(&(start + 0.1)).expect_err("another"));
    let faster = stack.with_steps(Stage::Prediction, 3);
    another(open(&rollout_request(), true, &faster).expect_err("other steps"));
}

/// The image model of a stack makes the same picture whichever way it is asked.
#[test]
fn a_picture_with_boxes_is_the_first_frame_of_a_rollout() {
    let stack = stack("tiny-stack-driving");
    let middle = ObjectBox {
        x0: 0.4,
        y0: 0.5,
        x1: 0.6,
        y1: 0.7,
        class: 1,
    };
    let mut rollout = rollout_request();
    rollout.wishes = Wishes {
        boxes: vec![middle],
        ..Wishes::default()
    };
    let start = first_frame(&stack, &rollout, onto()).expect("a first frame");
    let stage = stack.needed(Stage::Boxes).expect("there");
    let settings = LoadSettings {
        device: onto().0,
        dtype: onto().1,
        temporal: None,
    };
    let model = stage.model.clone().load(&settings).expect("weights");
    let usual = &stage.config.usual;
    let request = GenerateRequest {
        boxes: vec![middle],
        seed: rollout.start_seed,
        steps: usual.steps,
        sampler: usual.sampler,
        guidance: usual.guidance,
        width: usual.width,
        height: usual.height,
        ..GenerateRequest::default()
    };
    let plan = Plan::new(&model.description, &request, None, 4).expect("a plan");
    let generation = Generation::new(&model, plan, None, GivenTensors::default()).expect("a run");
    let sample = generation.last().expect("a sample").expect("no error");
    let Progress::Finished(sample) = sample else {
        panic!("the last step finishes the sample");
    };
    assert_eq!(values(&sample.latents), values(&start));
    let clip = GenerateRequest {
        frames: Some(2),
        ..request
    };
    let layers = Path::new("temporal.safetensors");
    Plan::new(&model.description, &clip, Some(layers), 4).expect_err("boxes on a clip");
}

#[test]
fn what_a_stack_cannot_do_is_said_before_anything_is_loaded() {
    let stack = stack("tiny-stack-driving");
    let check = |error: vldm::Error, expected: &str| {
        assert!(error.to_string().contains(expected), "{error}");
    };
    let error = ClipPlan::new(&stack, &request(8), (None, 4)).expect_err("no key frames");
    check(error, "has no stage \"key frames\"");
    let mut wishes = rollout_request();
    wishes.wishes.labels.insert("rain".into(), 1);
    check(
        first_frame(&stack, &wishes, onto()).expect_err("unknown label"),
        "knows no label \"rain\"",
    );
    let request = RolloutRequest {
        seconds: 0.0,
        ..rollout_request()
    };
    let start = Tensor::zeros([1, 1, 4, 8, 16], &Device::flex());
    let error = Rollout::new(&stack, request, (start, 0), onto()).expect_err("no time");
    check(error, "expected more than 0");
}
