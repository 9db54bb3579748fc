//! A Vulkan layer that makes any driver fail. The fault tests load it between the program and its driver.
//!
//! Only those tests compile it (`rustc --crate-type cdylib`); Vulkan's loader loads it. `GRADAMP_TEST_FAULT` selects
//! the fault:
//!
//! - `lost N`: the N-th submission and all later ones report a lost device;
//! - `memory N`: the N-th allocation of device memory and all later ones find no memory left;
//! - `wrong`: shaders subtract where they should add.
//!
//! Source: version 2 of the interface between Vulkan's loader and its layers, and the structures of `vk_layer.h`.

use std::ffi::{CStr, c_char, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

type Handle = *mut c_void;
type Code = i32;
type Function = Option<unsafe extern "system" fn()>;
type FindFunction = unsafe extern "system" fn(Handle, *const c_char) -> Function;
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
    find_in_instance: Option<FindFunction>,
    find_in_device: Option<FindFunction>,
    find_in_physical_device: Option<FindFunction>,
}

/// The fields with which every Vulkan structure begins, followed by the first field of the loader's structures.
#[repr(C)]
pub struct Chained {
    kind: u32,
    next: *mut Chained,
    function: u32,
    link: *mut Link,
}

/// The next layer, or the driver.
#[repr(C)]
struct Link {
    next: *mut Link,
    find_in_instance: FindFunction,
    /// For a device: `vkGetDeviceProcAddr` of the next layer.
    find: FindFunction,
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

/// The handles and functions of the next layer.
static INSTANCE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NEXT_IN_INSTANCE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static NEXT_IN_DEVICE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static SUBMISSIONS: AtomicU64 = AtomicU64::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Looks up a function of the next layer.
unsafe fn next_function(finder: &AtomicPtr<c_void>, handle: Handle, name: &CStr) -> Function {
    let finder = finder.load(Ordering::Acquire);
    if finder.is_null() {
        return None;
    }
    // SAFETY: only functions of this type are stored in it.
    unsafe { transmute::<*mut c_void, FindFunction>(finder)(handle, name.as_ptr()) }
}

/// Finds the loader's link in a chain of structures, and advances the chain to the next layer.
unsafe fn link(mut at: *mut Chained, kind: u32) -> *mut Link {
    // SAFETY: the loader adds its structure to every chain.
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
    // SAFETY: the loader passes its own structure.
    let negotiation = unsafe { &mut *negotiation };
    negotiation.version = 2;
    negotiation.find_in_instance = Some(find_in_instance);
    negotiation.find_in_device = Some(find_in_device);
    negotiation.find_in_physical_device = None;
    0
}

unsafe extern "system" fn create_instance(info: *const Chained, allocator: Handle, out: *mut Handle) -> Code {
    // SAFETY: the loader calls this with a chain that holds its link.
    unsafe {
        let link = link((*info).next, LOADER_INSTANCE_CREATE_INFO);
        NEXT_IN_INSTANCE.store((*link).find_in_instance as *mut c_void, Ordering::Release);
        let create = next_function(&NEXT_IN_INSTANCE, null_mut(), c"vkCreateInstance");
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
    // SAFETY: the loader calls this with a chain that holds its link.
    unsafe {
        let link = link((*info).next, LOADER_DEVICE_CREATE_INFO);
        NEXT_IN_DEVICE.store((*link).find as *mut c_void, Ordering::Release);
        let create = next_function(&NEXT_IN_INSTANCE, INSTANCE.load(Ordering::Acquire), c"vkCreateDevice");
        let code = transmute::<Function, CreateDevice>(create)(physical, info, allocator, out);
        DEVICE.store(*out, Ordering::Release);
        code
    }
}

/// The device. The program opens only one.
static DEVICE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

unsafe fn device_function(name: &CStr) -> Function {
    // SAFETY: the device was created through this layer.
    unsafe { next_function(&NEXT_IN_DEVICE, DEVICE.load(Ordering::Acquire), name) }
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
    // SAFETY: the arguments are passed on unchanged.
    unsafe { transmute::<Function, QueueSubmit>(device_function(c"vkQueueSubmit"))(queue, count, submits, fence) }
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
    // SAFETY: the arguments are passed on unchanged.
    unsafe {
        transmute::<Function, AllocateMemory>(device_function(c"vkAllocateMemory"))(device, info, allocator, out)
    }
}

unsafe extern "system" fn create_shader_module(
    device: Handle,
    info: *const ShaderModule,
    allocator: *const c_void,
    out: *mut u64,
) -> Code {
    // SAFETY: the words belong to the caller during the call, and this function passes on either them or a changed
    // copy.
    unsafe {
        let create = transmute::<Function, CreateShaderModule>(device_function(c"vkCreateShaderModule"));
        if !matches!(fault(), Fault::Wrong) {
            return create(device, info, allocator, out);
        }
        let mut words = std::slice::from_raw_parts((*info).words, (*info).bytes / 4).to_vec();
        subtract(&mut words);
        let changed = ShaderModule { words: words.as_ptr(), ..std::ptr::read(info) };
        create(device, &changed, allocator, out)
    }
}

/// Changes each `OpFAdd` of a SPIR-V module into an `OpFSub`. The first word of an instruction holds its length and
/// its opcode. A module begins with a header of five words.
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

/// This layer's own function called `name`, if it replaces one.
fn own(name: &CStr) -> Function {
    // SAFETY: the caller uses each function with the type that belongs to its name.
    unsafe {
        match name.to_bytes() {
            b"vkGetInstanceProcAddr" => transmute::<FindFunction, Function>(find_in_instance),
            b"vkGetDeviceProcAddr" => transmute::<FindFunction, Function>(find_in_device),
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
    // SAFETY: Vulkan passes names as C strings.
    let name = unsafe { CStr::from_ptr(name) };
    // SAFETY: the arguments are passed on unchanged.
    own(name).or_else(|| unsafe { next_function(&NEXT_IN_INSTANCE, instance, name) })
}

unsafe extern "system" fn find_in_device(device: Handle, name: *const c_char) -> Function {
    // SAFETY: Vulkan passes names as C strings.
    let name = unsafe { CStr::from_ptr(name) };
    // SAFETY: the arguments are passed on unchanged.
    own(name).or_else(|| unsafe { next_function(&NEXT_IN_DEVICE, device, name) })
}
