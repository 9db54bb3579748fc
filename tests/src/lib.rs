//! Tests that need several crates; see the folder `tests`. The README's library example is compiled and run as a
//! doctest.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
