use super::small_resnet;
use crate::amplify::{
    AmplificationSettings, Amplifier, Amplify, DrawRecord, History, LearningRate, Phase, Placement, Redraw,
    Strategy,
};
use crate::{BackwardHook, Gradient, GradientAction, LayerKind, Reference, Shape, Site};

fn phase(epochs: usize, amplify: Amplify) -> Phase {
    Phase { epochs, lr: Some(LearningRate::constant(0.1)), amplify }
}

/// One epoch without amplification, two with it, one with a single draw, and one without.
fn strategy(settings: &AmplificationSettings) -> Strategy {
    let once =
        AmplificationSettings { redraw: Redraw::Once, count: Some(2), ratio: None, ..settings.clone() };
    let phases = vec![
        phase(1, Amplify::Off),
        phase(2, Amplify::on()),
        phase(1, Amplify::with(once)),
        phase(1, Amplify::Off),
    ];
    Strategy { lr: None, phases }
}

fn amplifier(placement: Placement, redraw: Redraw) -> Amplifier {
    let settings = AmplificationSettings {
        kinds: vec![LayerKind::BatchNorm, LayerKind::Block],
        ratio: Some(0.5),
        factor: 3.0,
        redraw,
        placement,
        ..Default::default()
    };
    Amplifier::new(&strategy(&settings), &settings, &small_resnet(), 11).unwrap()
}

const STEPS_PER_EPOCH: u64 = 3;

fn begin(amplifier: &mut Amplifier, epoch: usize, step: u64) -> Option<DrawRecord> {
    amplifier.begin_step(epoch, step, &History::default()).unwrap()
}

/// The steps at which draws were recorded in a run from `first` on.
fn recorded(amplifier: &mut Amplifier, first: u64) -> Vec<u64> {
    (first..6 * STEPS_PER_EPOCH)
        .filter_map(|step| begin(amplifier, (step / STEPS_PER_EPOCH) as usize, step))
        .map(|record| record.step)
        .collect()
}

#[test]
fn a_draw_is_recorded_at_its_first_step() {
    assert_eq!(recorded(&mut amplifier(Placement::Output, Redraw::Once), 0), [3, 9]);
    assert_eq!(recorded(&mut amplifier(Placement::Output, Redraw::Epoch), 0), [3, 6, 9]);
    assert_eq!(recorded(&mut amplifier(Placement::Output, Redraw::Step), 0), [3, 4, 5, 6, 7, 8, 9]);
}

#[test]
fn a_resumed_run_records_the_draws_that_the_first_run_did_not_record() {
    for redraw in [Redraw::Once, Redraw::Epoch, Redraw::Step] {
        let whole = recorded(&mut amplifier(Placement::Output, redraw), 0);
        for last in 0..4 * STEPS_PER_EPOCH {
            let mut resumed = amplifier(Placement::Output, redraw);
            resumed.resume_after((last / STEPS_PER_EPOCH) as usize, last, &History::default()).unwrap();
            let expected: Vec<u64> = whole.iter().copied().filter(|&step| step > last).collect();
            assert_eq!(recorded(&mut resumed, last + 1), expected, "{redraw:?}, resumed after step {last}");
        }
    }
}

#[test]
fn a_record_holds_the_draw_in_force() {
    let mut amplifier = amplifier(Placement::Input, Redraw::Epoch);
    let sites = small_resnet().sites;
    let record = begin(&mut amplifier, 2, 6).unwrap();
    let draw = amplifier.draw().unwrap();
    let paths: Vec<_> = draw.sites.iter().map(|&i| sites[i].path.to_string()).collect();
    assert_eq!((record.epoch, record.step, &record.sites), (2, 6, &paths));
    let line = serde_json::to_value(&record).unwrap();
    assert_eq!(line["factors"][0], 3.0);
    assert_eq!(line["placement"], "input");
    begin(&mut amplifier, 4, 12);
    assert!(amplifier.draw().is_none());
}

/// The factor by which `hook` multiplies at each of its three places, for every site and parameter.
fn factors(hook: &mut Amplifier) -> [Vec<f32>; 3] {
    let trace = small_resnet();
    let gradient = Gradient::ones(&Reference, Shape::new(&[1]).unwrap());
    let factor = |action: crate::Result<GradientAction<Reference>>| match action.unwrap() {
        GradientAction::Keep => 1.0,
        GradientAction::Scale(factor) => factor,
        GradientAction::Replace(_) => panic!("an amplifier replaces nothing"),
    };
    [
        trace.sites.iter().map(|site| factor(hook.on_gradient(site, &gradient))).collect(),
        trace.sites.iter().map(|site| factor(hook.on_input_gradient(site, &gradient))).collect(),
        trace.parameters.iter().map(|path| factor(hook.on_parameter_gradient(path, &gradient))).collect(),
    ]
}

#[test]
fn only_drawn_layers_are_scaled_and_only_at_their_placement() {
    let trace = small_resnet();
    for (place, placement) in [Placement::Output, Placement::Input, Placement::Params].into_iter().enumerate()
    {
        let mut hook = amplifier(placement, Redraw::Epoch);
        begin(&mut hook, 1, 3).unwrap();
        let drawn = hook.draw().unwrap().sites.clone();
        let mut expected = [vec![1.0; trace.sites.len()], vec![1.0; trace.sites.len()], Vec::new()];
        expected[2] = vec![1.0; trace.parameters.len()];
        if placement == Placement::Params {
            for (path, factor) in trace.parameters.iter().zip(&mut expected[2]) {
                let inside = |site: &&usize| path.starts_with(&format!("{}.", trace.sites[**site].path));
                *factor = 3_f32.powi(drawn.iter().filter(inside).count() as i32);
            }
            assert!(expected[2].contains(&3.0));
        } else {
            drawn.iter().for_each(|&site| expected[place][site] = 3.0);
        }
        assert_eq!(factors(&mut hook), expected, "{placement:?}");
        begin(&mut hook, 4, 12);
        assert!(factors(&mut hook).iter().flatten().all(|&factor| factor == 1.0));
    }
}

#[test]
fn a_layer_that_the_trace_lacks_is_an_error() {
    let mut hook = amplifier(Placement::Output, Redraw::Epoch);
    let gradient = Gradient::<Reference>::ones(&Reference, Shape::new(&[1]).unwrap());
    begin(&mut hook, 1, 3).unwrap();
    for index in [0, 1000] {
        let site = Site { path: "late".into(), kind: LayerKind::Other, index };
        let error = hook.on_gradient(&site, &gradient).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("amplification: layer late (number {index}) is not in the trace"))
        );
    }
}
