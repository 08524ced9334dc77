/* A stand-in for the CUDA driver that numbers two cards the other way round than NVML does: fastest first. It heeds
 * CUDA_DEVICE_ORDER=PCI_BUS_ID and, as a list of two indices at most, CUDA_VISIBLE_DEVICES. */
#include <stdlib.h>
#include <string.h>

static int order[2] = {1, 0}, count = 2;

int cuInit(unsigned flags) {
    const char *by = getenv("CUDA_DEVICE_ORDER"), *visible = getenv("CUDA_VISIBLE_DEVICES");
    (void)flags;
    if (by && !strcmp(by, "PCI_BUS_ID")) { order[0] = 0; order[1] = 1; }
    if (visible) { int first = order[atoi(visible) ? 1 : 0]; order[0] = first; count = 1; }
    return 0;
}
int cuDeviceGetCount(int *n) { *n = count; return 0; }
int cuDeviceGet(int *device, int i) { *device = order[i]; return i >= count; }
int cuDeviceGetUuid(unsigned char *uuid, int device) {
    static const unsigned char tail[12] = {0xaa, 0xaa, 0xbb, 0xbb, 0xcc, 0xcc, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd, 0xdd};
    memset(uuid, 0, 16); uuid[3] = (unsigned char)device; memcpy(uuid + 4, tail, 12);
    return 0;
}
