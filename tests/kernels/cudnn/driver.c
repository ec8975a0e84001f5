/* A driver that stands in for CUDA's where there is none: it knows of no device, and takes kernels
   without loading them, so that cuDNN can make a plan to its end. check.py builds it. */
typedef void* handle;
static char there;
#define NO_DEVICE(name) \
  int name(void) { return 100; }
#define DONE(name) \
  int name(void) { return 0; }

int cuLibraryLoadData(handle* library) { return *library = &there, 0; }
int cuLibraryGetKernel(handle* kernel) { return *kernel = &there, 0; }
int cuLibraryGetModule(handle* module) { return *module = &there, 0; }
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuGetProcAddress(const char* name, handle* at) { return (void)name, *at = 0, 500; }
int cuGetProcAddress_v2(const char* name, handle* at) { return (void)name, *at = 0, 500; }
DONE(cuLibraryUnload)
DONE(cuKernelSetAttribute)
DONE(cuKernelGetAttribute)
NO_DEVICE(cuInit)
NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDeviceGetCount)
NO_DEVICE(cuGetErrorName)
NO_DEVICE(cuGetErrorString)
NO_DEVICE(cuCtxGetCurrent)
NO_DEVICE(cuCtxGetLimit)
NO_DEVICE(cuCtxPopCurrent)
NO_DEVICE(cuCtxPushCurrent)
NO_DEVICE(cuStreamGetCtx)
NO_DEVICE(cuLinkCreate)
NO_DEVICE(cuLinkAddData)
NO_DEVICE(cuLinkComplete)
NO_DEVICE(cuLinkDestroy)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuLaunchKernelEx)
NO_DEVICE(cuLaunchCooperativeKernel)
NO_DEVICE(cuLibraryLoadFromFile)
NO_DEVICE(cuOccupancyMaxPotentialClusterSize)
