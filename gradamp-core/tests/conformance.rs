//! Checks every law of the conformance suite on the reference backend.

use gradamp_core::Reference;

gradamp_core::conformance!(Reference);
