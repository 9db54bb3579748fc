//! A Vulkan layer that makes any driver fail: what the tests of faults put between the program and its driver.
//!
//! It is compiled by those tests alone (`rustc --crate-type cdylib`) and loaded by Vulkan's loader. `GRADAMP_TEST_FAULT` says
//! what it does:
//!
//!   lost N      the N-th submission, and each that follows, loses the device
//!   memory N    the N-th allocation of device memory, and each that follows, finds none left
//!   wrong       shaders subtract where they should add
//!
//! Source: the interface between Vulkan's loader and layers, version 2, and the structures of `vk_layer.h`.

use std::ffi::{CStr, c_char, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

type Handle = *mut c_void;
type Code = i32;
type Function = Option<unsafe extern "system" fn()>;
type Find = unsafe extern "system" fn(Handle, *const c_char) -> Function;
type CreateInstance = unsafe extern "system" fn(*const Chained, Handle, *mut Handle) -> Code;
type CreateDevice = unsafe extern "system" fn(Handle, *const Chained, Handle, *mut Handle) -> Code;
type QueueSubmit = unsafe extern "system" fn(Handle, u32, *const c_void, u64) -> Code;
type AllocateMemory = unsafe extern "system" fn(Handle, *const c_void, *const c_void, *mut u64) -> Code;
type CreateShaderModule =
    unsafe extern "system" fn(Handle, *const ShaderModule, *const c_void, *mut u64) -> Code;

const OUT_OF_DEVICE_MEMORY: Code = -2;
const DEVICE_LOST: Code = -4;
const LOADER_INSTANCE_CREATE_INFO: u32 = 47;
const LOADER_DEVICE_CREATE_INFO: u32 = 48;
const LINK: u32 = 0;

#[repr(C)]
pub struct Negotiation {
    kind: u32,
    next: *mut c_void,
    version: u32,
    find_in_instance: Option<Find>,
    find_in_device: Option<Find>,
    find_in_physical_device: Option<Find>,
}

/// The head of every structure, and of those of the loader what follows.
#[repr(C)]
pub struct Chained {
    kind: u32,
    next: *mut Chained,
    function: u32,
    link: *mut Link,
}

/// The layer after this one, or the driver.
#[repr(C)]
struct Link {
    next: *mut Link,
    find_in_instance: Find,
    /// For a device: `vkGetDeviceProcAddr` of what follows.
    find: Find,
}

#[repr(C)]
pub struct ShaderModule {
    kind: u32,
    next: *const c_void,
    flags: u32,
    bytes: usize,
    words: *const u32,
}

enum Fault {
    Lost(u64),
    Memory(u64),
    Wrong,
}

fn fault() -> &'static Fault {
    static FAULT: OnceLock<Fault> = OnceLock::new();
    FAULT.get_or_init(|| {
        let text = std::env::var("GRADAMP_TEST_FAULT").expect("GRADAMP_TEST_FAULT");
        match text.split_once(' ') {
            Some(("lost", n)) => Fault::Lost(n.parse().expect("a number")),
            Some(("memory", n)) => Fault::Memory(n.parse().expect("a number")),
            None if text == "wrong" => Fault::Wrong,
            _ => panic!("GRADAMP_TEST_FAULT is {text:?}"),
        }
    })
}

/// What follows: functions of the instance and of the device.
static INSTANCE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NEXT_IN_INSTANCE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NEXT_IN_DEVICE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static SUBMISSIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// A function of what follows.
unsafe fn following(finder: &AtomicPtr<c_void>, handle: Handle, name: &CStr) -> Function {
    let finder = finder.load(Ordering::Acquire);
    if finder.is_null() {
        return None;
    }
    // SAFETY: only functions of this type are stored.
    unsafe { transmute::<*mut c_void, Find>(finder)(handle, name.as_ptr()) }
}

/// The loader's link in a chain of structures, taken out of it for the next layer.
unsafe fn link(mut at: *mut Chained, kind: u32) -> *mut Link {
    // SAFETY: the loader puts its structure into every chain.
    unsafe {
        while (*at).kind != kind || (*at).function != LINK {
            at = (*at).next;
        }
        let link = (*at).link;
        (*at).link = (*link).next;
        link
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "system" fn vkNegotiateLoaderLayerInterfaceVersion(negotiation: *mut Negotiation) -> Code {
    // SAFETY: the loader hands over its own structure.
    let negotiation = unsafe { &mut *negotiation };
    negotiation.version = 2;
    negotiation.find_in_instance = Some(find_in_instance);
    negotiation.find_in_device = Some(find_in_device);
    negotiation.find_in_physical_device = None;
    0
}

unsafe extern "system" fn create_instance(info: *const Chained, allocator: Handle, out: *mut Handle) -> Code {
    // SAFETY: called by the loader, with a chain that holds its link.
    unsafe {
        let link = link((*info).next, LOADER_INSTANCE_CREATE_INFO);
        NEXT_IN_INSTANCE.store((*link).find_in_instance as *mut c_void, Ordering::Release);
        let create = following(&NEXT_IN_INSTANCE, null_mut(), c"vkCreateInstance");
        let code = transmute::<Function, CreateInstance>(create)(info, allocator, out);
        INSTANCE.store(*out, Ordering::Release);
        code
    }
}

unsafe extern "system" fn create_device(
    physical: Handle,
    info: *const Chained,
    allocator: Handle,
    out: *mut Handle,
) -> Code {
    // SAFETY: as for the instance.
    unsafe {
        let link = link((*info).next, LOADER_DEVICE_CREATE_INFO);
        NEXT_IN_DEVICE.store((*link).find as *mut c_void, Ordering::Release);
        let create = following(&NEXT_IN_INSTANCE, INSTANCE.load(Ordering::Acquire), c"vkCreateDevice");
        let code = transmute::<Function, CreateDevice>(create)(physical, info, allocator, out);
        DEVICE.store(*out, Ordering::Release);
        code
    }
}

/// The device, of which the program opens one.
static DEVICE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

unsafe fn of_device(name: &CStr) -> Function {
    // SAFETY: the device was created through this layer.
    unsafe { following(&NEXT_IN_DEVICE, DEVICE.load(Ordering::Acquire), name) }
}

unsafe extern "system" fn queue_submit(
    queue: Handle,
    count: u32,
    submits: *const c_void,
    fence: u64,
) -> Code {
    if matches!(fault(), Fault::Lost(n) if SUBMISSIONS.fetch_add(1, Ordering::AcqRel) + 1 >= *n) {
        return DEVICE_LOST;
    }
    // SAFETY: passed on as it came.
    unsafe { transmute::<Function, QueueSubmit>(of_device(c"vkQueueSubmit"))(queue, count, submits, fence) }
}

unsafe extern "system" fn allocate_memory(
    device: Handle,
    info: *const c_void,
    allocator: *const c_void,
    out: *mut u64,
) -> Code {
    if matches!(fault(), Fault::Memory(n) if ALLOCATIONS.fetch_add(1, Ordering::AcqRel) + 1 >= *n) {
        return OUT_OF_DEVICE_MEMORY;
    }
    // SAFETY: passed on as it came.
    unsafe {
        transmute::<Function, AllocateMemory>(of_device(c"vkAllocateMemory"))(device, info, allocator, out)
    }
}

unsafe extern "system" fn create_shader_module(
    device: Handle,
    info: *const ShaderModule,
    allocator: *const c_void,
    out: *mut u64,
) -> Code {
    // SAFETY: the words belong to the caller for the length of the call, and are passed on as they came or changed.
    unsafe {
        let create = transmute::<Function, CreateShaderModule>(of_device(c"vkCreateShaderModule"));
        if !matches!(fault(), Fault::Wrong) {
            return create(device, info, allocator, out);
        }
        let mut words = std::slice::from_raw_parts((*info).words, (*info).bytes / 4).to_vec();
        subtract(&mut words);
        let changed = ShaderModule { words: words.as_ptr(), ..std::ptr::read(info) };
        create(device, &changed, allocator, out)
    }
}

/// Each `OpFAdd` of a SPIR-V module becomes an `OpFSub`. An instruction's first word holds its length and its number; five
/// words stand before the first.
fn subtract(words: &mut [u32]) {
    const ADD: u32 = 129;
    const SUBTRACT: u32 = 131;
    let mut at = 5;
    while at < words.len() {
        let (length, number) = (words[at] >> 16, words[at] & 0xffff);
        if number == ADD {
            words[at] = length << 16 | SUBTRACT;
        }
        at += length.max(1) as usize;
    }
}

/// This layer's own function of that name.
fn own(name: &CStr) -> Function {
    // SAFETY: whoever asks for a name calls it by its type.
    unsafe {
        match name.to_bytes() {
            b"vkGetInstanceProcAddr" => transmute::<Find, Function>(find_in_instance),
            b"vkGetDeviceProcAddr" => transmute::<Find, Function>(find_in_device),
            b"vkCreateInstance" => transmute::<CreateInstance, Function>(create_instance),
            b"vkCreateDevice" => transmute::<CreateDevice, Function>(create_device),
            b"vkQueueSubmit" => transmute::<QueueSubmit, Function>(queue_submit),
            b"vkAllocateMemory" => transmute::<AllocateMemory, Function>(allocate_memory),
            b"vkCreateShaderModule" => transmute::<CreateShaderModule, Function>(create_shader_module),
            _ => None,
        }
    }
}

unsafe extern "system" fn find_in_instance(instance: Handle, name: *const c_char) -> Function {
    // SAFETY: a name is a C string.
    let name = unsafe { CStr::from_ptr(name) };
    // SAFETY: passed on as it came.
    own(name).or_else(|| unsafe { following(&NEXT_IN_INSTANCE, instance, name) })
}

unsafe extern "system" fn find_in_device(device: Handle, name: *const c_char) -> Function {
    // SAFETY: a name is a C string.
    let name = unsafe { CStr::from_ptr(name) };
    // SAFETY: passed on as it came.
    own(name).or_else(|| unsafe { following(&NEXT_IN_DEVICE, device, name) })
}
