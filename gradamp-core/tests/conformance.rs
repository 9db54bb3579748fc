//! Every law, on the reference backend.

use gradamp_core::Reference;

gradamp_core::conformance!(Reference);
