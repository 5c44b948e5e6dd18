// SPDX-License-Identifier: GPL-2.0
/*
 * CPU threads and an OpenCL kernel add to the same words of malloc()ed memory with
 * atomic operations, and the sums are checked. See --help.
 *
 * The device has to have fine-grain system SVM with atomics (OpenCL 2.0 and later),
 * where the two sides' atomics are atomic for each other while the kernel runs. With
 * --cpu a device which lacks them and is a CPU itself will do: it works on the same
 * memory anyway, though no specification says so.
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED		4	/* the exit status by which kselftest says so */
#define MAX_THREADS	64
#define MAX_DEVICES	32
#define SYSTEM_ATOMICS	(CL_DEVICE_SVM_FINE_GRAIN_SYSTEM | CL_DEVICE_SVM_ATOMICS)

static const char source[] =
	"kernel void add(global atomic_uint *words, uint count, uint stride, uint rounds)\n"
	"{\n"
	"	for (uint i = 0; i < rounds; i++) {\n"
	"		uint word = (get_global_id(0) + i) % count * stride;\n"
	"\n"
	"		atomic_fetch_add_explicit(&words[word], 1, memory_order_relaxed,\n"
	"					  SCOPE);\n"
	"	}\n"
	"}\n";

static struct {
	unsigned int words, pages_apart, threads, items, rounds;
	bool cpu_device;
} opt = { .words = 4, .pages_apart = 1, .threads = 2, .items = 64, .rounds = 1000 };

static atomic_uint *words;
static unsigned int stride;	/* in words */
static atomic_bool stop;
static atomic_ullong by_cpu;

static const char usage[] =
	"usage: svm-atomics [OPTION]...\n"
	"CPU threads and OpenCL work-items add to the same malloc()ed words with atomic\n"
	"operations; no increment may be lost. Says what it finds in TAP.\n"
	"  -w, --words N     number of words (4)\n"
	"  -p, --pages N     pages from one word to the next, 0: all in a row (1)\n"
	"  -t, --threads N   CPU threads (2)\n"
	"  -i, --items N     work-items (64)\n"
	"  -r, --rounds N    increments of each work-item (1000)\n"
	"  -c, --cpu         if there is no device with fine-grain system SVM and atomics,\n"
	"                    take a CPU device: shows that the program works, nothing else\n"
	"  -h, --help        this text\n"
	"Exit status: 0 all well, 1 a test failed, 2 wrong use, 4 no device that can do it.\n";

static void __attribute__((noreturn, format(printf, 1, 2))) skip(const char *fmt, ...)
{
	va_list args;

	printf("1..0 # SKIP ");
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\n");
	exit(SKIPPED);
}

static void __attribute__((noreturn)) give_up(const char *what, int err)
{
	printf("Bail out! %s: %s\n", what, strerror(err));
	exit(1);
}

static void __attribute__((noreturn)) fail(const char *what, cl_int err)
{
	printf("Bail out! %s: OpenCL error %d\n", what, err);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static cl_device_svm_capabilities svm_of(cl_device_id device)
{
	cl_device_svm_capabilities svm = 0;

	if (clGetDeviceInfo(device, CL_DEVICE_SVM_CAPABILITIES, sizeof(svm), &svm, NULL))
		return 0;
	return svm;
}

static cl_device_type type_of(cl_device_id device)
{
	cl_device_type type = 0;

	clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof(type), &type, NULL);
	return type;
}

static void describe(cl_device_id device)
{
	cl_device_svm_capabilities svm = svm_of(device);
	char name[128] = "?", version[128] = "?", driver[128] = "?";

	clGetDeviceInfo(device, CL_DEVICE_NAME, sizeof(name), name, NULL);
	clGetDeviceInfo(device, CL_DEVICE_VERSION, sizeof(version), version, NULL);
	clGetDeviceInfo(device, CL_DRIVER_VERSION, sizeof(driver), driver, NULL);
	printf("# device: %s, %s, driver %s\n", name, version, driver);
	printf("#   SVM 0x%llx:%s%s%s%s%s\n", (unsigned long long)svm,
	       svm & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER ? " coarse-grain-buffer" : "",
	       svm & CL_DEVICE_SVM_FINE_GRAIN_BUFFER ? " fine-grain-buffer" : "",
	       svm & CL_DEVICE_SVM_FINE_GRAIN_SYSTEM ? " fine-grain-system" : "",
	       svm & CL_DEVICE_SVM_ATOMICS ? " atomics" : "",
	       svm ? "" : " none");
}

/* The first device that conforms; else, if asked for, the first that is a CPU. */
static cl_device_id find_device(bool *conforms)
{
	cl_device_id device[MAX_DEVICES], found = NULL;
	cl_platform_id platform[MAX_DEVICES];
	cl_uint platforms = 0, devices, seen = 0;

	*conforms = false;
	clGetPlatformIDs(MAX_DEVICES, platform, &platforms);
	for (cl_uint i = 0; i < platforms && i < MAX_DEVICES; i++) {
		devices = 0;
		clGetDeviceIDs(platform[i], CL_DEVICE_TYPE_ALL, MAX_DEVICES, device, &devices);
		for (cl_uint j = 0; j < devices && j < MAX_DEVICES; j++, seen++) {
			describe(device[j]);
			if (!*conforms &&
			    (svm_of(device[j]) & SYSTEM_ATOMICS) == SYSTEM_ATOMICS) {
				*conforms = true;
				found = device[j];
			} else if (!found && opt.cpu_device &&
				   type_of(device[j]) & CL_DEVICE_TYPE_CPU) {
				found = device[j];
			}
		}
	}
	if (!seen)
		skip("there is no OpenCL device");
	if (!found)
		skip("no OpenCL device has fine-grain system SVM with atomics");
	return found;
}

static cl_kernel build_kernel(cl_context context, cl_device_id device, bool conforms)
{
	const char *text = source;
	cl_program program;
	cl_kernel kernel;
	char log[4096] = "";
	cl_int err;

	program = clCreateProgramWithSource(context, 1, &text, NULL, &err);
	if (err)
		fail("clCreateProgramWithSource", err);
	err = clBuildProgram(program, 1, &device,
			     conforms ? "-cl-std=CL2.0 -DSCOPE=memory_scope_all_svm_devices" :
					"-cl-std=CL3.0 -DSCOPE=memory_scope_device", NULL, NULL);
	if (err) {
		clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof(log) - 1, log,
				      NULL);
		fprintf(stderr, "%s\n", log);
		fail("clBuildProgram", err);
	}
	kernel = clCreateKernel(program, "add", &err);
	if (err)
		fail("clCreateKernel", err);
	return kernel;
}

static void set_arguments(cl_kernel kernel, cl_uint rounds)
{
	cl_uint count = opt.words, apart = stride;
	cl_int err = clSetKernelArgSVMPointer(kernel, 0, words);

	err = err ? err : clSetKernelArg(kernel, 1, sizeof(count), &count);
	err = err ? err : clSetKernelArg(kernel, 2, sizeof(apart), &apart);
	err = err ? err : clSetKernelArg(kernel, 3, sizeof(rounds), &rounds);
	if (err)
		fail("clSetKernelArg", err);
}

static void run_kernel(cl_command_queue queue, cl_kernel kernel)
{
	size_t items = opt.items;
	cl_int err = clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, NULL, 0, NULL, NULL);

	err = err ? err : clFinish(queue);
	if (err)
		fail("the kernel", err);
}

static void *cpu_thread(void *arg)
{
	unsigned long long n = (uintptr_t)arg, start = n;

	while (!stop)
		atomic_fetch_add(&words[n++ % opt.words * stride], 1);
	by_cpu += n - start;
	return NULL;
}

static unsigned int sum(void)
{
	unsigned int total = 0;

	for (unsigned int i = 0; i < opt.words; i++)
		total += words[i * stride];
	return total;
}

static int result(int number, bool good, const char *name)
{
	printf("%sok %d %s\n", good ? "" : "not ", number, name);
	return !good;
}

/* Adds wrap around, and so does what they are compared with. */
static int alone(cl_command_queue queue, cl_kernel kernel)
{
	unsigned int before = sum();

	run_kernel(queue, kernel);
	return result(1, sum() - before == opt.items * opt.rounds, "the device alone");
}

static int together(cl_command_queue queue, cl_kernel kernel)
{
	unsigned int before = sum(), by_device = opt.items * opt.rounds, i;
	pthread_t thread[MAX_THREADS];
	double start = now(), took;
	bool good;
	int err;

	for (i = 0; i < opt.threads; i++) {
		err = pthread_create(&thread[i], NULL, cpu_thread, (void *)(uintptr_t)i);
		if (err)
			give_up("pthread_create", err);
	}
	run_kernel(queue, kernel);
	took = now() - start;
	stop = true;
	for (i = 0; i < opt.threads; i++)
		pthread_join(thread[i], NULL);
	good = sum() - before == by_device + (unsigned int)by_cpu;
	printf("# %.3f s: %.0f per second by %u CPU threads, %.0f by %u work-items\n", took,
	       by_cpu / took, opt.threads, by_device / took, opt.items);
	if (!good)
		printf("# %d increments lost\n",
		       (int)(by_device + (unsigned int)by_cpu - (sum() - before)));
	return result(2, good, "the device and the CPU together");
}

static unsigned int number(const char *text, unsigned int min, unsigned int max)
{
	char *end;
	unsigned long n = strtoul(text, &end, 0);

	if (*end || end == text || strchr(text, '-') || n < min || n > max) {
		fprintf(stderr, "svm-atomics: %s: not a number from %u to %u\n", text, min, max);
		exit(2);
	}
	return n;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "words", required_argument, NULL, 'w' },
		{ "pages", required_argument, NULL, 'p' },
		{ "threads", required_argument, NULL, 't' },
		{ "items", required_argument, NULL, 'i' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "cpu", no_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	int c;

	while ((c = getopt_long(argc, argv, "w:p:t:i:r:ch", options, NULL)) != -1) {
		switch (c) {
		case 'w': opt.words = number(optarg, 1, 1 << 16); break;
		case 'p': opt.pages_apart = number(optarg, 0, 512); break;
		case 't': opt.threads = number(optarg, 0, MAX_THREADS); break;
		case 'i': opt.items = number(optarg, 1, 1 << 20); break;
		case 'r': opt.rounds = number(optarg, 1, 1 << 30); break;
		case 'c': opt.cpu_device = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: fputs(usage, stderr); exit(2);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "svm-atomics: %s: what is that?\n", argv[optind]);
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	long page = sysconf(_SC_PAGESIZE);
	cl_command_queue queue;
	cl_device_id device;
	cl_context context;
	cl_kernel kernel;
	size_t size;
	bool conforms;
	int failed;
	cl_int err;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse(argc, argv);
	stride = opt.pages_apart ? opt.pages_apart * page / sizeof(*words) : 1;
	size = (size_t)opt.words * stride * sizeof(*words);
	words = malloc(size);
	if (!words)
		give_up("malloc", errno);
	memset(words, 0, size);

	printf("TAP version 13\n");
	device = find_device(&conforms);
	printf("# mode: %s\n", conforms ?
	       "conforming (fine-grain system SVM, memory_scope_all_svm_devices)" :
	       "NOT CONFORMING (a CPU device, memory_scope_device): says nothing about a GPU");
	context = clCreateContext(NULL, 1, &device, NULL, NULL, &err);
	if (err)
		fail("clCreateContext", err);
	queue = clCreateCommandQueueWithProperties(context, device, NULL, &err);
	if (err)
		fail("clCreateCommandQueueWithProperties", err);
	kernel = build_kernel(context, device, conforms);
	set_arguments(kernel, opt.rounds);

	printf("1..2\n");
	failed = alone(queue, kernel);
	failed += together(queue, kernel);

	clReleaseKernel(kernel);
	clReleaseCommandQueue(queue);
	clReleaseContext(context);
	free((void *)words);
	return failed > 0;
}
