//! How much memory a device has: each graphics API has its own word for it.

/// Bytes of the memory that holds a device's tensors, where its API tells.
pub(crate) fn device_memory(raw: &wgpu::Adapter) -> Option<u64> {
    match raw.get_info().backend {
        #[cfg(not(target_vendor = "apple"))]
        wgpu::Backend::Vulkan => vulkan(raw),
        #[cfg(target_vendor = "apple")]
        wgpu::Backend::Metal => metal(raw),
        #[cfg(windows)]
        wgpu::Backend::Dx12 => dx12(raw),
        _ => None,
    }
}

/// The largest heap of the device's own.
#[cfg(not(target_vendor = "apple"))]
fn vulkan(raw: &wgpu::Adapter) -> Option<u64> {
    const DEVICE_LOCAL: u32 = 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    // SAFETY: the handles are asked for a property and let go before the adapter is.
    let heaps = unsafe {
        let adapter = raw.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = adapter.shared_instance().raw_instance();
        instance.get_physical_device_memory_properties(adapter.raw_physical_device())
    };
    let heaps = heaps.memory_heaps.iter().take(heaps.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

/// What Metal recommends to stay below.
#[cfg(target_vendor = "apple")]
fn metal(raw: &wgpu::Adapter) -> Option<u64> {
    use objc2_metal::MTLDevice;
    // SAFETY: as above.
    let adapter = unsafe { raw.as_hal::<wgpu::hal::api::Metal>()? };
    Some(adapter.raw_device().recommendedMaxWorkingSetSize())
}

/// The card's own memory, or the host's share where it has next to none.
#[cfg(windows)]
fn dx12(raw: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: as above.
    let description = unsafe {
        let adapter = raw.as_hal::<wgpu::hal::api::Dx12>()?;
        adapter.as_raw().GetDesc().ok()?
    };
    let bytes = match raw.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => description.DedicatedVideoMemory,
        _ => description.DedicatedVideoMemory.max(description.SharedSystemMemory),
    };
    Some(bytes as u64)
}
