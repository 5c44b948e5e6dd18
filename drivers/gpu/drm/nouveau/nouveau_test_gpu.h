/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A GPU made of memory, for testing what nouveau does with shared virtual
 * memory where there is no GPU. See nouveau_test_gpu.c.
 */
#ifndef __NOUVEAU_TEST_GPU_H__
#define __NOUVEAU_TEST_GPU_H__
#include "nouveau_drv.h"
#include "nouveau_chan.h"
#include "nouveau_fence.h"
#include "nouveau_svm.h"

#include <nvif/ifc00d.h>

struct kunit_suite;
struct platform_device;

/* Access types, in the numbers of the hardware. */
enum test_access {
	TEST_READ = 0,
	TEST_WRITE = 1,
	TEST_ATOMIC = 2,
	TEST_PREFETCH = 3,
};

/* Who does the accesses, and what becomes of him. */
struct test_engine {
	struct list_head head;
	u64 inst;
	u8 gpc, client;
	bool cancelled;
};

struct test_gpu_stats {
	u64 faults;	/* entries put into the fault buffer */
	u64 replays;
	u64 cancels;
	u64 maps;	/* calls of PFNMAP */
	u64 clears;	/* calls of PFNCLR */
	u64 demotions;	/* calls of PFNCLR for atomics only */
	u64 overwritten; /* valid entries overwritten: a DMA mapping lost */
	u64 clean;	/* clean system pages mapped writable */
	u64 unmanaged;	/* calls of PFNCLR that touch the unmanaged range */
	u64 privileged;	/* calls of PFNMAP or PFNCLR with super set */
};

struct test_gpu {
	struct platform_device *pdev;
	struct drm_device ddev;
	struct nouveau_drm drm;

	/*
	 * The GPU does one memory access at a time, and none while its page
	 * tables change. Protects all that follows.
	 */
	spinlock_t lock;
	wait_queue_head_t wait;
	struct list_head vmms;
	struct list_head engines;
	struct test_gpu_stats stats;

	/* What test_gpu_vram_new() adds. */
	void *vram;
	struct nouveau_channel chan;
	struct nouveau_fence_priv fence;

	u32 *buffer;
	u32 entries, get, put;
	struct nvif_notify *notify;
	bool armed;

	/* What a test may want to have different. */
	bool no_class, no_buffer, fail_copy;
	int fail_page, fail_pfnmap;

	/* Called without the lock, before the GPU does what it is told. */
	void (*on_cancel)(struct test_gpu *gpu);
	void (*on_get)(struct test_gpu *gpu);
	void (*on_copy)(struct test_gpu *gpu);
	void *data;

	/* The last cancelled fault, the last PFNMAP. */
	struct gp100_vmm_fault_cancel_v0 cancel;
	u64 map_addr, map_size, map_phys;
};

/* A process that uses the GPU, as an open file of the driver. */
struct test_client {
	struct test_gpu *gpu;
	struct nouveau_cli cli;
	struct drm_file file;
	u64 inst;
};

struct test_gpu *test_gpu_new(u32 entries);
void test_gpu_del(struct test_gpu *gpu);
int test_gpu_vram_new(struct test_gpu *gpu);
void test_gpu_vram_del(struct test_gpu *gpu);
struct page *test_gpu_vram_page(struct test_gpu *gpu, u64 pte);
bool test_gpu_dma_returned(void);
unsigned long test_gpu_set_fault_timeout(unsigned long timeout);

void test_client_ctor(struct test_gpu *gpu, struct test_client *client,
		      u64 inst);
int test_client_init(struct test_client *client, u64 unmanaged, u64 size);
void test_client_fini(struct test_client *client);

u64 test_gpu_pte(struct test_client *client, u64 addr);
void test_gpu_raise(struct test_gpu *gpu, u64 inst, u64 addr, u8 access,
		    u8 gpc, u8 client);
void test_gpu_interrupt(struct test_gpu *gpu);
void test_gpu_idle(struct test_gpu *gpu);
int test_gpu_access(struct test_client *client, struct test_engine *engine,
		    enum test_access access, u64 addr, u64 *value);

#if IS_ENABLED(CONFIG_DRM_NOUVEAU_SVM_KUNIT_TEST)
extern struct kunit_suite gp100_vmm_test_suite;
void nouveau_test_kunit(void);
#else
static inline void nouveau_test_kunit(void) {}
#endif

#if IS_ENABLED(CONFIG_DRM_NOUVEAU_SVM_TEST_DEVICE)
void nouveau_test_dev_init(void);
void nouveau_test_dev_exit(void);
#else
static inline void nouveau_test_dev_init(void) {}
static inline void nouveau_test_dev_exit(void) {}
#endif
#endif
