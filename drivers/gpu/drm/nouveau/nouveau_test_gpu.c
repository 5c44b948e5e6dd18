// SPDX-License-Identifier: GPL-2.0
/*
 * A GPU made of memory
 *
 * Every call that the driver makes to its GPU goes through the ioctl method of
 * a struct nvif_driver. The one here answers from memory, so that the code for
 * shared virtual memory runs as it is: the fault buffer is an array, its
 * interrupt a call of nvif_notify(), and the GPU's page table is what PFNMAP
 * and PFNCLR have said.
 *
 * The GPU's memory accesses are made by whoever calls test_gpu_access(). One
 * that the page table does not allow puts an entry into the fault buffer and
 * waits for the replay. An atomic operation that it does allow is a read, a
 * pause, and a write, and not atomic at all: if a CPU could reach the page
 * meanwhile, what it writes would be lost, and a test can count what is lost.
 */
#include "nouveau_test_gpu.h"

#include <nvif/class.h>
#include <nvif/clb069.h>
#include <nvif/driver.h>
#include <nvif/event.h>
#include <nvif/if000c.h>
#include <nvif/ifc00d.h>
#include <nvif/ioctl.h>
#include <nvif/notify.h>

#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/xarray.h>

#define ENTRY_WORDS	8
#define ENTRY_VALID	BIT(31)
#define REG_GET		0x100
#define REG_PUT		0x104

/* In an entry of the page table: it is one of 512 that came as one. */
#define TEST_LARGE	0x8ULL
#define LARGE_PAGES	512

/* The GPU's page table: the words given to PFNMAP, by page number. */
struct test_vmm {
	struct list_head head;
	u64 start, limit; /* the range that PFNMAP refuses */
	struct xarray pt;
};

static u64 pte_of(struct test_vmm *vmm, u64 index)
{
	void *entry = xa_load(&vmm->pt, index);

	return entry ? xa_to_value(entry) : 0;
}

static bool unmanaged(struct test_vmm *vmm, u64 addr, u64 size)
{
	return addr < vmm->limit && addr + size > vmm->start;
}

static int vmm_set(struct test_gpu *gpu, struct test_vmm *vmm, u64 index,
		   u64 pte)
{
	if (pte_of(vmm, index) & NVIF_VMM_PFNMAP_V0_V)
		gpu->stats.overwritten++;
	return xa_err(xa_store(&vmm->pt, index, xa_mk_value(pte), GFP_ATOMIC));
}

static void check_dirty(struct test_gpu *gpu, u64 pte)
{
	struct page *page = pfn_to_page(pte >> PAGE_SHIFT);

	if (pte & NVIF_VMM_PFNMAP_V0_VRAM || !(pte & NVIF_VMM_PFNMAP_V0_W))
		return;
	if (!PageDirty(compound_head(page)))
		gpu->stats.clean++;
}

/* As nvkm_vmm_pfn_map(): what could not be mapped is told by its word. */
static int vmm_pfnmap(struct test_gpu *gpu, struct test_vmm *vmm,
		      struct nvif_vmm_pfnmap_v0 *args)
{
	u64 i, n = 1ULL << (args->page - PAGE_SHIFT);
	u64 count = args->size >> args->page, j, pte;
	u64 index = args->addr >> PAGE_SHIFT;

	gpu->stats.maps++;
	gpu->map_addr = args->addr;
	gpu->map_size = args->size;
	gpu->map_phys = args->phys[0];
	if (gpu->fail_pfnmap && !--gpu->fail_pfnmap)
		return -ENOMEM;

	for (i = 0; i < count; i++, index += n) {
		pte = args->phys[i];
		if (!(pte & NVIF_VMM_PFNMAP_V0_V))
			continue;
		if (unmanaged(vmm, index << PAGE_SHIFT, n << PAGE_SHIFT)) {
			args->phys[i] = NVIF_VMM_PFNMAP_V0_NONE;
			continue;
		}
		check_dirty(gpu, pte);
		for (j = 0; j < n; j++, pte += PAGE_SIZE)
			if (vmm_set(gpu, vmm, index + j,
				    pte | (n > 1 ? TEST_LARGE : 0)))
				args->phys[i] = NVIF_VMM_PFNMAP_V0_NONE;
	}
	return 0;
}

static void vmm_pfnclr(struct test_gpu *gpu, struct test_vmm *vmm,
		       struct nvif_vmm_pfnclr_v0 *args)
{
	unsigned long index = args->addr >> PAGE_SHIFT;
	unsigned long last = (args->addr + args->size - 1) >> PAGE_SHIFT;
	void *entry;
	u64 pte;

	if (unmanaged(vmm, args->addr, args->size))
		gpu->stats.unmanaged++;
	if (args->atomics)
		gpu->stats.demotions++;
	else
		gpu->stats.clears++;

	/* Large entries cannot be changed in part. */
	if (pte_of(vmm, index) & TEST_LARGE)
		index = ALIGN_DOWN(index, LARGE_PAGES);
	if (pte_of(vmm, last) & TEST_LARGE)
		last |= LARGE_PAGES - 1;

	xa_for_each_range(&vmm->pt, index, entry, index, last) {
		pte = xa_to_value(entry);
		if (!args->atomics)
			xa_erase(&vmm->pt, index);
		else if (!(pte & NVIF_VMM_PFNMAP_V0_VRAM))
			xa_store(&vmm->pt, index,
				 xa_mk_value(pte & ~NVIF_VMM_PFNMAP_V0_A),
				 GFP_ATOMIC);
	}
}

static void gpu_cancel(struct test_gpu *gpu,
		       struct gp100_vmm_fault_cancel_v0 *args)
{
	struct test_engine *engine;

	gpu->stats.cancels++;
	gpu->cancel = *args;
	list_for_each_entry(engine, &gpu->engines, head)
		if (engine->inst == args->inst && engine->gpc == args->gpc &&
		    engine->client == args->client)
			engine->cancelled = true;
	wake_up_all(&gpu->wait);
}

/* Tell the driver about faults, unless it is at work on some. */
static void fire(struct test_gpu *gpu)
{
	struct nvif_notify_rep_v0 rep = {
		.token = (unsigned long)gpu->notify,
	};

	if (!gpu->armed)
		return;
	gpu->armed = false;
	nvif_notify(&rep, sizeof(rep), NULL, 0);
}

static int vmm_mthd(struct test_gpu *gpu, struct nvif_object *object,
		    struct nvif_ioctl_mthd_v0 *mthd, bool super)
{
	struct nvif_vmm_page_v0 *page = (void *)mthd->data;
	struct test_vmm *vmm = object->priv;
	int ret = 0;

	if (mthd->method == GP100_VMM_VN_FAULT_CANCEL && gpu->on_cancel)
		gpu->on_cancel(gpu);

	spin_lock(&gpu->lock);
	switch (mthd->method) {
	case NVIF_VMM_V0_PAGE:
		if (gpu->fail_page && !--gpu->fail_page)
			ret = -EINVAL;
		page->shift = page->index ? PAGE_SHIFT : 21;
		break;
	case NVIF_VMM_V0_PFNMAP:
		gpu->stats.privileged += super;
		ret = vmm_pfnmap(gpu, vmm, (void *)mthd->data);
		break;
	case NVIF_VMM_V0_PFNCLR:
		gpu->stats.privileged += super;
		vmm_pfnclr(gpu, vmm, (void *)mthd->data);
		break;
	case GP100_VMM_VN_FAULT_REPLAY:
		gpu->stats.replays++;
		wake_up_all(&gpu->wait);
		break;
	case GP100_VMM_VN_FAULT_CANCEL:
		gpu_cancel(gpu, (void *)mthd->data);
		break;
	default:
		ret = -EINVAL;
	}
	spin_unlock(&gpu->lock);
	return ret;
}

static int vmm_new(struct test_gpu *gpu, struct nvif_vmm_v0 *args, void **priv)
{
	struct test_vmm *vmm = kzalloc(sizeof(*vmm), GFP_KERNEL);

	if (!vmm)
		return -ENOMEM;
	xa_init(&vmm->pt);
	vmm->start = args->addr;
	vmm->limit = args->addr + args->size;
	args->page_nr = 2;
	spin_lock(&gpu->lock);
	list_add(&vmm->head, &gpu->vmms);
	spin_unlock(&gpu->lock);
	*priv = vmm;
	return 0;
}

static int gpu_new_object(struct test_gpu *gpu, struct nvif_ioctl_new_v0 *new,
			  void **priv)
{
	struct nvif_clb069_v0 *buffer = (void *)new->data;

	switch (new->oclass) {
	case MAXWELL_FAULT_BUFFER_A:
		if (gpu->no_buffer)
			return -ENOMEM;
		buffer->entries = gpu->entries;
		buffer->get = REG_GET;
		buffer->put = REG_PUT;
		return 0;
	case NVIF_CLASS_VMM_GP100:
		return vmm_new(gpu, (void *)new->data, priv);
	default:
		return -EINVAL;
	}
}

static void gpu_del_object(struct test_gpu *gpu, struct nvif_object *object)
{
	struct test_vmm *vmm = object->priv;

	if (object->oclass != NVIF_CLASS_VMM_GP100)
		return;
	spin_lock(&gpu->lock);
	list_del(&vmm->head);
	spin_unlock(&gpu->lock);
	xa_destroy(&vmm->pt);
	kfree(vmm);
}

static int gpu_sclass(struct test_gpu *gpu, struct nvif_ioctl_sclass_v0 *args)
{
	if (args->count && !gpu->no_class) {
		args->oclass[0].oclass = MAXWELL_FAULT_BUFFER_A;
		args->oclass[0].minver = 0;
		args->oclass[0].maxver = 0;
	}
	args->count = !gpu->no_class;
	return 0;
}

static int gpu_rd(struct test_gpu *gpu, struct nvif_ioctl_rd_v0 *args)
{
	spin_lock(&gpu->lock);
	args->data = args->addr == REG_GET ? gpu->get : gpu->put;
	spin_unlock(&gpu->lock);
	return 0;
}

static int gpu_wr(struct test_gpu *gpu, struct nvif_ioctl_wr_v0 *args)
{
	if (args->addr != REG_GET)
		return -EINVAL;
	if (gpu->on_get)
		gpu->on_get(gpu);
	spin_lock(&gpu->lock);
	gpu->get = args->data;
	wake_up_all(&gpu->wait);
	spin_unlock(&gpu->lock);
	return 0;
}

static int gpu_map(struct test_gpu *gpu, struct nvif_ioctl_map_v0 *args)
{
	args->type = NVIF_IOCTL_MAP_V0_VA;
	args->handle = (unsigned long)gpu->buffer;
	args->length = gpu->entries * ENTRY_WORDS * sizeof(u32);
	return 0;
}

static int gpu_ntfy(struct test_gpu *gpu, u8 type, void *data)
{
	struct nvif_ioctl_ntfy_new_v0 *new = data;
	struct nvif_notify_req_v0 *req = (void *)new->data;

	spin_lock(&gpu->lock);
	switch (type) {
	case NVIF_IOCTL_V0_NTFY_NEW:
		gpu->notify = (void *)(unsigned long)req->token;
		new->index = 0;
		break;
	case NVIF_IOCTL_V0_NTFY_GET:
		gpu->armed = true;
		if (gpu->get != gpu->put)
			fire(gpu);
		break;
	case NVIF_IOCTL_V0_NTFY_DEL:
		gpu->notify = NULL;
		fallthrough;
	case NVIF_IOCTL_V0_NTFY_PUT:
		gpu->armed = false;
		break;
	}
	spin_unlock(&gpu->lock);
	return 0;
}

static int gpu_ioctl(void *priv, bool super, void *data, u32 size, void **hack)
{
	struct test_gpu *gpu = priv;
	struct nvif_ioctl_v0 *args = data;
	struct nvif_object *object = (void *)(unsigned long)args->object;
	void *arg = args->data;

	switch (args->type) {
	case NVIF_IOCTL_V0_SCLASS:
		return gpu_sclass(gpu, arg);
	case NVIF_IOCTL_V0_NEW:
		return gpu_new_object(gpu, arg, hack);
	case NVIF_IOCTL_V0_DEL:
		gpu_del_object(gpu, object);
		return 0;
	case NVIF_IOCTL_V0_MTHD:
		return vmm_mthd(gpu, object, arg, super);
	case NVIF_IOCTL_V0_RD:
		return gpu_rd(gpu, arg);
	case NVIF_IOCTL_V0_WR:
		return gpu_wr(gpu, arg);
	case NVIF_IOCTL_V0_MAP:
		return gpu_map(gpu, arg);
	case NVIF_IOCTL_V0_UNMAP:
		return 0;
	case NVIF_IOCTL_V0_NTFY_NEW:
	case NVIF_IOCTL_V0_NTFY_DEL:
	case NVIF_IOCTL_V0_NTFY_GET:
	case NVIF_IOCTL_V0_NTFY_PUT:
		return gpu_ntfy(gpu, args->type, arg);
	default:
		return -EINVAL;
	}
}

static const struct nvif_driver test_driver = {
	.name = "test",
	.ioctl = gpu_ioctl,
	.keep = true,
};

static void cli_ctor(struct test_gpu *gpu, struct nouveau_cli *cli,
		     const char *name)
{
	strscpy(cli->name, name, sizeof(cli->name));
	cli->drm = &gpu->drm;
	mutex_init(&cli->mutex);
	cli->base.driver = &test_driver;
	cli->base.object.client = &cli->base;
	cli->base.object.priv = gpu;
	cli->device.object.client = &cli->base;
	cli->device.info.family = NV_DEVICE_INFO_V0_PASCAL;
	cli->mmu.object.client = &cli->base;
	cli->vmm.vmm.object.client = &cli->base;
	cli->vmm.vmm.object.oclass = NVIF_CLASS_VMM_GP100;
}

/* Make a GPU with a fault buffer of @entries. SVM is left for nouveau_svm_init(). */
struct test_gpu *test_gpu_new(u32 entries)
{
	struct test_gpu *gpu = kzalloc(sizeof(*gpu), GFP_KERNEL);

	if (!gpu)
		return NULL;
	gpu->buffer = kcalloc(entries, ENTRY_WORDS * sizeof(u32), GFP_KERNEL);
	gpu->pdev = platform_device_register_simple("nouveau-test",
						    PLATFORM_DEVID_AUTO,
						    NULL, 0);
	if (!gpu->buffer || IS_ERR(gpu->pdev)) {
		if (!IS_ERR(gpu->pdev))
			platform_device_unregister(gpu->pdev);
		kfree(gpu->buffer);
		kfree(gpu);
		return NULL;
	}
	spin_lock_init(&gpu->lock);
	init_waitqueue_head(&gpu->wait);
	INIT_LIST_HEAD(&gpu->vmms);
	INIT_LIST_HEAD(&gpu->engines);
	gpu->entries = entries;
	gpu->ddev.dev = &gpu->pdev->dev;
	gpu->ddev.dev_private = &gpu->drm;
	gpu->drm.dev = &gpu->ddev;
	cli_ctor(gpu, &gpu->drm.client, "test-gpu");
	gpu->drm.client.base.super = true;
	return gpu;
}

void test_gpu_del(struct test_gpu *gpu)
{
	platform_device_unregister(gpu->pdev);
	kfree(gpu->buffer);
	kfree(gpu);
}

/* The file that a process has opened, before DRM_NOUVEAU_SVM_INIT. */
void test_client_ctor(struct test_gpu *gpu, struct test_client *client,
		      u64 inst)
{
	memset(client, 0, sizeof(*client));
	client->gpu = gpu;
	client->inst = inst;
	client->file.driver_priv = &client->cli;
	cli_ctor(gpu, &client->cli, "test-client");
}

/* DRM_NOUVEAU_SVM_INIT, and a channel. */
int test_client_init(struct test_client *client, u64 unmanaged, u64 size)
{
	struct drm_nouveau_svm_init args = {
		.unmanaged_addr = unmanaged,
		.unmanaged_size = size,
	};
	int ret;

	ret = nouveau_svmm_init(&client->gpu->ddev, &args, &client->file);
	if (ret)
		return ret;
	return nouveau_svmm_join(client->cli.svm.svmm, client->inst);
}

/* What is left to do for a client in any state when its file is closed. */
void test_client_fini(struct test_client *client)
{
	nouveau_svmm_part(client->cli.svm.svmm, client->inst);
	nouveau_vmm_fini(&client->cli.svm);
}

static struct test_vmm *vmm_of(struct test_client *client)
{
	return client->cli.svm.vmm.object.priv;
}

/* The word for @addr in the GPU's page table. */
u64 test_gpu_pte(struct test_client *client, u64 addr)
{
	u64 pte;

	spin_lock(&client->gpu->lock);
	pte = pte_of(vmm_of(client), addr >> PAGE_SHIFT);
	spin_unlock(&client->gpu->lock);
	return pte;
}

static bool full(struct test_gpu *gpu)
{
	return (gpu->put + 1) % gpu->entries == gpu->get;
}

static void raise(struct test_gpu *gpu, u64 inst, u64 addr, u8 access,
		  u8 gpc, u8 client)
{
	u32 *entry = gpu->buffer + gpu->put * ENTRY_WORDS;

	entry[0] = lower_32_bits(inst);
	entry[1] = upper_32_bits(inst);
	entry[2] = lower_32_bits(addr & PAGE_MASK);
	entry[3] = upper_32_bits(addr);
	entry[7] = ENTRY_VALID | gpc << 24 | access << 16 | client << 8;
	gpu->put = (gpu->put + 1) % gpu->entries;
	gpu->stats.faults++;
}

/* Put a fault into the buffer, which has room for it, and tell nobody. */
void test_gpu_raise(struct test_gpu *gpu, u64 inst, u64 addr, u8 access,
		    u8 gpc, u8 client)
{
	spin_lock(&gpu->lock);
	WARN_ON(full(gpu));
	raise(gpu, inst, addr, access, gpc, client);
	spin_unlock(&gpu->lock);
}

void test_gpu_interrupt(struct test_gpu *gpu)
{
	spin_lock(&gpu->lock);
	fire(gpu);
	spin_unlock(&gpu->lock);
}

/* Wait for the fault handler. */
void test_gpu_idle(struct test_gpu *gpu)
{
	flush_work(&gpu->notify->work);
}

static bool allowed(u64 pte, enum test_access access)
{
	switch (access) {
	case TEST_READ:
		return pte & NVIF_VMM_PFNMAP_V0_V;
	case TEST_ATOMIC:
		return pte & NVIF_VMM_PFNMAP_V0_A;
	default:
		return pte & NVIF_VMM_PFNMAP_V0_W;
	}
}

/* The access itself. The lock is held: the page cannot be taken away. */
static void access_page(struct test_gpu *gpu, u64 pte, enum test_access access,
			u64 addr, u64 *value)
{
	u64 phys = pte & NVIF_VMM_PFNMAP_V0_ADDR;
	void *page = kmap_atomic(pte & NVIF_VMM_PFNMAP_V0_VRAM ?
				 vmalloc_to_page(gpu->vram + phys) :
				 pfn_to_page(phys >> PAGE_SHIFT));
	u64 *word = page + (addr & ~PAGE_MASK & ~7);
	u64 old = READ_ONCE(*word);

	switch (access) {
	case TEST_ATOMIC:
		/* Time enough for a CPU to get in between, if it can. */
		udelay(1);
		WRITE_ONCE(*word, old + *value);
		break;
	case TEST_WRITE:
		WRITE_ONCE(*word, *value);
		break;
	default:
		*value = old;
	}
	kunmap_atomic(page);
}

static bool woken(struct test_gpu *gpu, struct test_engine *engine, u64 replays,
		  bool raised)
{
	bool ret;

	spin_lock(&gpu->lock);
	ret = engine->cancelled || gpu->stats.replays != replays ||
	      (!raised && !full(gpu));
	spin_unlock(&gpu->lock);
	return ret;
}

/*
 * Do one access to eight bytes of the process's memory: read them into *value,
 * write it, or add it. Returns -EFAULT if the driver has cancelled the fault.
 */
int test_gpu_access(struct test_client *client, struct test_engine *engine,
		    enum test_access access, u64 addr, u64 *value)
{
	struct test_gpu *gpu = client->gpu;
	u64 pte, replays;
	bool raised;

	while (true) {
		spin_lock(&gpu->lock);
		if (engine->cancelled) {
			spin_unlock(&gpu->lock);
			return -EFAULT;
		}
		pte = pte_of(vmm_of(client), addr >> PAGE_SHIFT);
		if (allowed(pte, access)) {
			access_page(gpu, pte, access, addr, value);
			spin_unlock(&gpu->lock);
			return 0;
		}
		replays = gpu->stats.replays;
		raised = !full(gpu);
		if (raised)
			raise(gpu, engine->inst, addr, access, engine->gpc,
			      engine->client);
		fire(gpu);
		spin_unlock(&gpu->lock);

		if (wait_event_killable(gpu->wait, woken(gpu, engine, replays,
							 raised)))
			return -EINTR;
	}
}
