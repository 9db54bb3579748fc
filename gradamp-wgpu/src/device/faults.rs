//! What goes wrong on the device, which it tells at any time and on any thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gradamp_core::Error;

use crate::device::adapter::Adapter;

/// An error of `adapter`.
pub(crate) fn fault(adapter: &Adapter, message: String) -> Error {
    Error::Backend { backend: adapter.to_string(), message }
}

/// The first fault of a device; later ones follow from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<(AtomicBool, Mutex<Option<String>>)>);

impl Faults {
    /// Faults of `device`, from now on.
    pub(crate) fn watch(device: &wgpu::Device) -> Self {
        let faults = Self::default();
        let (lost, wrong) = (faults.clone(), faults.clone());
        device.set_device_lost_callback(move |reason, message| {
            lost.note(format!("the device was lost ({reason:?}): {}", first_line(&message)));
        });
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            wrong.note(match error {
                wgpu::Error::OutOfMemory { .. } => "the device is out of memory".to_owned(),
                other => first_line(&other.to_string()).to_owned(),
            });
        }));
        faults
    }

    fn note(&self, message: String) {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(message);
        self.0.0.store(true, Ordering::Release);
    }

    /// The first fault, if there was one.
    pub(crate) fn first(&self) -> Option<String> {
        if !self.0.0.load(Ordering::Acquire) {
            return None;
        }
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or(message).trim()
}
