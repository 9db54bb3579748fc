//! Checks every law of the conformance suite on the CPU.

use gradamp_core::conformance::repeat::two_backends_give_the_same_bits;
use gradamp_core::conformance::{Required, assert_law, laws};
use gradamp_cpu::{Cpu, Isa};

gradamp_core::conformance!(Cpu::default());

#[test]
fn every_law_holds_for_every_instruction_set() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let cpu = Cpu::with_isa(2, isa).unwrap();
        laws::<Cpu>().iter().for_each(|law| assert_law(&cpu, law.name));
    }
}

/// The CPU keeps no images on the device, so that the laws of kept images check nothing there. They do check the backend
/// [`Required`], which keeps images by the core's reference code.
#[test]
fn the_laws_of_kept_images_hold_for_the_reference_code() {
    let kept = laws::<Required<Cpu>>().into_iter().filter(|law| law.name.starts_with("keep_images::"));
    let checked = kept.map(|law| assert_law(&Required(Cpu::default()), law.name)).count();
    assert_eq!(checked, 3);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let one = Cpu::with_threads(1).unwrap();
    for threads in [2, 3, 8] {
        let many = Cpu::with_threads(threads).unwrap();
        two_backends_give_the_same_bits(&one, &many).unwrap_or_else(|v| panic!("{threads} threads: {v}"));
    }
}
