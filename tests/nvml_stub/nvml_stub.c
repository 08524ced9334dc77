/* A stand-in for NVIDIA's management library, faked at its C interface so that the real pynvml makes its real
 * ctypes calls. What it does is told by the environment variable NVML_STUB, words separated by blanks:
 *
 *   gpus=2                     number of GPUs (default 1)
 *   power_w=300 util=97 clock_mhz=2520 temperature_c=60 reasons=4 tensor=40
 *   fail:FUNCTION=CODE         FUNCTION always returns CODE
 *   flaky:FUNCTION=CODE        FUNCTION returns CODE on every second call
 *   lost_after_ms=1500         from then on every call about GPU 0 returns GPU_IS_LOST
 *   hang:FUNCTION=1500         FUNCTION never returns once so many milliseconds have passed
 *   energy_reset_ms=1500       the energy counter starts again at zero then
 *   go=PATH                    the three times above count from the creation of this file, not from the start, which
 *                              a busy machine may draw out
 *   energy_factor=1.2          the energy counter runs fast by this factor
 *   process=PID sm=30          a compute process on every GPU and its SM utilisation in percent
 *   seen_ago_ms=60000          that process last worked so long ago (default 0)
 *   refused=1                  the GPU of this number may not be asked: NO_PERMISSION for its handle
 *   unlike=1                   GPU 1 is another card than GPU 0
 *   timeline=PATH              a file of such values over time, counted like the three times above
 *   mig=1                      GPU 0 has one MIG instance
 *
 * Compiled with -DOLD_DRIVER it lacks the newer symbols, as a driver of 2019 does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OK 0
#define NOT_SUPPORTED 3
#define NO_PERMISSION 4
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define GPU_IS_LOST 15

typedef struct { int index; int mig; } device;
static device devices[16];
static double started_ms;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double option(const char *name, double otherwise) {
    const char *text = getenv("NVML_STUB");
    size_t length = strlen(name);
    while (text && *text) {
        while (*text == ' ') text++;
        if (!strncmp(text, name, length) && text[length] == '=') return atof(text + length + 1);
        text = strchr(text, ' ');
    }
    return otherwise;
}

static double elapsed_ms(void) {
    static double began_ms;
    const char *text = getenv("NVML_STUB"), *word = text ? strstr(text, "go=") : NULL;
    char path[4096];
    if (!word || sscanf(word, "go=%4095s", path) != 1) return now_ms() - started_ms;
    if (!began_ms && access(path, F_OK)) return 0;
    if (!began_ms) began_ms = now_ms();
    return now_ms() - began_ms;
}

/* One column of the row of this moment: a line of the file is "ms util clock_mhz power_w tensor reasons temperature_c". */
static double now_of(const char *name, int column, double otherwise) {
    static double rows[4096][7];
    static int count = -1;
    const char *text = getenv("NVML_STUB"), *word = text ? strstr(text, "timeline=") : NULL;
    char path[4096];
    int row = 0;
    if (!word || sscanf(word, "timeline=%4095s", path) != 1) return option(name, otherwise);
    if (count < 0) {
        FILE *file = fopen(path, "r");
        for (count = 0; file && count < 4096; count++) {
            double *r = rows[count];
            if (fscanf(file, "%lf%lf%lf%lf%lf%lf%lf", r, r + 1, r + 2, r + 3, r + 4, r + 5, r + 6) != 7) break;
        }
        if (file) fclose(file);
    }
    while (row + 1 < count && rows[row + 1][0] <= elapsed_ms()) row++;
    return count ? rows[row][column] : option(name, otherwise);
}

static int outcome(const char *function, const device *d) {
    static int calls;
    char name[128];
    double elapsed = elapsed_ms();
    snprintf(name, sizeof name, "hang:%s", function);
    if (elapsed >= option(name, 1e18)) for (;;) pause();
    if (d && d->index == 0 && elapsed >= option("lost_after_ms", 1e18)) return GPU_IS_LOST;
    snprintf(name, sizeof name, "flaky:%s", function);
    if (option(name, 0) && calls++ % 2) return (int)option(name, 0);
    snprintf(name, sizeof name, "fail:%s", function);
    return (int)option(name, OK);
}

#define CHECK(d) do { int code_ = outcome(__func__, d); if (code_) return code_; } while (0)
#define WHOLE_GPU(d) do { CHECK(d); if ((d)->mig) return NOT_SUPPORTED; } while (0)

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    started_ms = now_ms();
    for (int i = 0; i < 16; i++) devices[i].index = i;
    CHECK(NULL);
    return OK;
}
int nvmlShutdown(void) { CHECK(NULL); return OK; }
const char *nvmlErrorString(int code) { static char text[32]; snprintf(text, sizeof text, "stub error %d", code); return text; }
int nvmlSystemGetDriverVersion(char *text, unsigned n) { CHECK(NULL); snprintf(text, n, "560.35.03"); return OK; }
int nvmlSystemGetCudaDriverVersion(int *v) { CHECK(NULL); *v = 12060; return OK; }
int nvmlDeviceGetCount_v2(unsigned *n) { CHECK(NULL); *n = (unsigned)option("gpus", 1); return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, device **d) {
    *d = &devices[i]; CHECK(NULL); return i == (unsigned)option("refused", 99) ? NO_PERMISSION : OK;
}
int nvmlDeviceGetUUID(device *d, char *text, unsigned n) {
    CHECK(NULL);
    snprintf(text, n, "%s-0000000%d-aaaa-bbbb-cccc-dddddddddddd", d->mig ? "MIG" : "GPU", d->index);
    return OK;
}
int nvmlDeviceGetName(device *d, char *text, unsigned n) {
    CHECK(NULL);
    const char *whole = d->index && option("unlike", 0) ? "NVIDIA GeForce RTX 5090" : "NVIDIA GeForce RTX 4090";
    snprintf(text, n, "%s", d->mig ? "NVIDIA Stub MIG 1g.10gb" : whole);
    return OK;
}
int nvmlDeviceGetVbiosVersion(device *d, char *text, unsigned n) { WHOLE_GPU(d); snprintf(text, n, "95.02.18.80.01"); return OK; }
int nvmlDeviceGetPersistenceMode(device *d, unsigned *on) { WHOLE_GPU(d); *on = 1; return OK; }
int nvmlDeviceGetCudaComputeCapability(device *d, int *major, int *minor) { CHECK(d); *major = 8; *minor = 9; return OK; }
int nvmlDeviceGetCurrPcieLinkWidth(device *d, unsigned *v) { WHOLE_GPU(d); *v = 16; return OK; }
int nvmlDeviceGetMaxPcieLinkWidth(device *d, unsigned *v) { WHOLE_GPU(d); *v = (unsigned)option("width_most", 16); return OK; }
int nvmlDeviceGetPowerManagementDefaultLimit(device *d, unsigned *v) {
    WHOLE_GPU(d); *v = (unsigned)(1e3 * option("default_w", 450)); return OK;
}
int nvmlDeviceGetDisplayActive(device *d, unsigned *on) { WHOLE_GPU(d); *on = (unsigned)option("display", 0); return OK; }
int nvmlDeviceGetCurrPcieLinkGeneration(device *d, unsigned *v) { WHOLE_GPU(d); *v = 4; return OK; }
int nvmlDeviceGetEnforcedPowerLimit(device *d, unsigned *v) { WHOLE_GPU(d); *v = 450000; return OK; }
int nvmlDeviceGetPowerUsage(device *d, unsigned *v) { WHOLE_GPU(d); *v = (unsigned)(1e3 * now_of("power_w", 3, 300)); return OK; }
int nvmlDeviceGetTemperature(device *d, int sensor, unsigned *v) {
    (void)sensor; WHOLE_GPU(d); *v = (unsigned)now_of("temperature_c", 6, 60); return OK;
}
int nvmlDeviceGetClockInfo(device *d, int type, unsigned *v) {
    WHOLE_GPU(d); *v = type == 2 ? 10501 : (unsigned)now_of("clock_mhz", 2, 2520); return OK;
}

typedef struct { unsigned gpu, memory; } utilization;
int nvmlDeviceGetUtilizationRates(device *d, utilization *u) {
    WHOLE_GPU(d); u->gpu = (unsigned)now_of("util", 1, 97); u->memory = 40; return OK;
}

typedef struct { unsigned long long total, free, used; } memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
#define GIB (1ull << 30)
int nvmlDeviceGetMemoryInfo(device *d, memory *m) { CHECK(d); *m = (memory){24 * GIB, 14 * GIB, 10 * GIB}; return OK; }

#ifndef OLD_DRIVER
static device mig_device = {0, 1};
int nvmlDeviceGetMemoryInfo_v2(device *d, memory_v2 *m) {
    CHECK(d); m->total = 24 * GIB; m->reserved = GIB / 2; m->free = 14 * GIB; m->used = 9 * GIB + GIB / 2; return OK;
}
int nvmlDeviceGetTotalEnergyConsumption(device *d, unsigned long long *v) {
    WHOLE_GPU(d);
    double ms = now_ms() - started_ms, elapsed = elapsed_ms(), reset = option("energy_reset_ms", 1e18);
    ms = 100 * (long)((elapsed >= reset ? elapsed - reset : ms + 1e6) / 100); /* the sensor updates every 100 ms */
    *v = (unsigned long long)(ms * option("power_w", 300) * option("energy_factor", 1));
    return OK;
}
int nvmlDeviceGetCurrentClocksEventReasons(device *d, unsigned long long *v) {
    WHOLE_GPU(d); *v = (unsigned long long)now_of("reasons", 5, 0); return OK;
}
typedef struct {
    unsigned field, scope; long long timestamp, latency; int type, code;
    union { double d; unsigned u; unsigned long long ull; } value;
} field_value;
int nvmlDeviceGetFieldValues(device *d, int n, field_value *values) {
    CHECK(d);
    for (int i = 0; i < n; i++) {
        values[i].code = d->mig ? NOT_SUPPORTED : (int)option("fail:field", OK);
        values[i].value.u = (unsigned)(1e3 * now_of("power_w", 3, 300));
    }
    return OK;
}
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute; } process;
int nvmlDeviceGetComputeRunningProcesses_v3(device *d, unsigned *n, process *list) {
    WHOLE_GPU(d);
    if (!option("process", 0)) { *n = 0; return OK; }
    if (!list || *n < 1) { *n = 1; return INSUFFICIENT_SIZE; }
    *n = 1; list[0] = (process){(unsigned)option("process", 0), GIB, 0, 0};
    return OK;
}
typedef struct { unsigned pid; unsigned long long t; unsigned sm, memory, encoder, decoder; } process_use;
int nvmlDeviceGetProcessUtilization(device *d, process_use *list, unsigned *n, unsigned long long since) {
    struct timespec t;
    WHOLE_GPU(d);
    clock_gettime(CLOCK_REALTIME, &t);
    double at_us = t.tv_sec * 1e6 + t.tv_nsec / 1e3 - 1e3 * option("seen_ago_ms", 0);
    if (at_us <= (double)since) return NOT_FOUND;
    if (!list || *n < 1) { *n = 1; return INSUFFICIENT_SIZE; }
    *n = 1; list[0] = (process_use){(unsigned)option("process", 0), (unsigned long long)at_us, (unsigned)option("sm", 0), 0, 0, 0};
    return OK;
}
int nvmlDeviceGetMigMode(device *d, unsigned *now, unsigned *pending) {
    CHECK(d); if (!option("mig", 0)) return NOT_SUPPORTED; *now = *pending = d->index == 0; return OK;
}
int nvmlDeviceGetMaxMigDeviceCount(device *d, unsigned *n) { CHECK(d); *n = 7; return OK; }
int nvmlDeviceGetMigDeviceHandleByIndex(device *d, unsigned i, device **mig) {
    CHECK(d); if (i) return NOT_FOUND; *mig = &mig_device; return OK;
}
typedef struct { unsigned version, supported; } gpm_support;
typedef struct { unsigned id; int code; double value; const char *names[3]; } gpm_metric;
typedef struct { unsigned version, n; void *first, *second; gpm_metric metrics[1]; } gpm_request;
int nvmlGpmQueryDeviceSupport(device *d, gpm_support *s) { WHOLE_GPU(d); s->supported = option("tensor", 0) > 0; return OK; }
int nvmlGpmSampleAlloc(void **sample) { CHECK(NULL); *sample = malloc(8); return OK; }
int nvmlGpmSampleFree(void *sample) { free(sample); CHECK(NULL); return OK; }
int nvmlGpmSampleGet(device *d, void *sample) { (void)sample; WHOLE_GPU(d); return OK; }
int nvmlGpmMetricsGet(gpm_request *r) {
    CHECK(NULL);
    for (unsigned i = 0; i < r->n; i++) { r->metrics[i].code = OK; r->metrics[i].value = now_of("tensor", 4, 0); }
    return OK;
}
#endif
