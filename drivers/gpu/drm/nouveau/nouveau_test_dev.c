// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/nouveau_test: a GPU made of memory, for tests in user space.
 *
 * Each open file is a client with SVM for the process that opens it. Each call
 * of NOUVEAU_TEST_IOC_ACCESS is a thread of the GPU.
 */
#include "nouveau_test_gpu.h"
#include "nouveau_test_uapi.h"

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define ENTRIES		64
#define UNMANAGED	BIT_ULL(46)
#define UNMANAGED_SIZE	BIT_ULL(30)

static struct test_gpu *test_gpu;

static int test_open(struct inode *inode, struct file *file)
{
	static atomic_t clients;
	struct test_client *client;
	int ret;

	client = kzalloc(sizeof(*client), GFP_KERNEL);
	if (!client)
		return -ENOMEM;
	test_client_ctor(test_gpu, client,
			 (0x100 + (u64)atomic_inc_return(&clients)) << 12);
	ret = test_client_init(client, UNMANAGED, UNMANAGED_SIZE);
	if (ret) {
		test_client_fini(client);
		kfree(client);
		return ret;
	}
	file->private_data = client;
	return 0;
}

static int test_release(struct inode *inode, struct file *file)
{
	struct test_client *client = file->private_data;

	test_client_fini(client);
	kfree(client);
	return 0;
}

static void engine_add(struct test_client *client, struct test_engine *engine)
{
	static u32 engines;

	spin_lock(&client->gpu->lock);
	engines++;
	engine->inst = client->inst;
	engine->client = engines & 0x7f;
	engine->gpc = engines >> 7 & 0x1f;
	list_add(&engine->head, &client->gpu->engines);
	spin_unlock(&client->gpu->lock);
}

static void engine_del(struct test_client *client, struct test_engine *engine)
{
	spin_lock(&client->gpu->lock);
	list_del(&engine->head);
	spin_unlock(&client->gpu->lock);
}

static int do_access(struct test_client *client, struct nouveau_test_access *arg)
{
	struct test_engine engine = {};
	u64 count = arg->count;
	int ret = 0;

	if (arg->access > NOUVEAU_TEST_ATOMIC || arg->addr & 7 || arg->pad)
		return -EINVAL;
	engine_add(client, &engine);
	for (arg->count = 0; arg->count < count; arg->count++) {
		ret = test_gpu_access(client, &engine, arg->access, arg->addr,
				      &arg->value);
		if (!ret && signal_pending(current))
			ret = -EINTR;
		if (ret)
			break;
		cond_resched();
	}
	engine_del(client, &engine);
	return ret;
}

static long access_ioctl(struct test_client *client, void __user *user)
{
	struct nouveau_test_access arg;
	int ret;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	ret = do_access(client, &arg);
	if (copy_to_user(user, &arg, sizeof(arg)))
		return -EFAULT;
	return ret;
}

static long pte_ioctl(struct test_client *client, void __user *user)
{
	struct nouveau_test_pte arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	arg.pte = test_gpu_pte(client, arg.addr);
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long stats_ioctl(struct test_client *client, void __user *user)
{
	struct nouveau_test_stats arg;
	struct test_gpu *gpu = client->gpu;

	spin_lock(&gpu->lock);
	arg.faults = gpu->stats.faults;
	arg.replays = gpu->stats.replays;
	arg.cancels = gpu->stats.cancels;
	arg.maps = gpu->stats.maps;
	arg.clears = gpu->stats.clears;
	arg.demotions = gpu->stats.demotions;
	arg.overwritten = gpu->stats.overwritten;
	arg.clean = gpu->stats.clean;
	spin_unlock(&gpu->lock);
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long bind_ioctl(struct test_client *client, void __user *user)
{
	struct drm_nouveau_svm_bind args = {
		.header = NOUVEAU_SVM_BIND_COMMAND__MIGRATE <<
			  NOUVEAU_SVM_BIND_COMMAND_SHIFT |
			  (u64)NOUVEAU_SVM_BIND_TARGET__GPU_VRAM <<
			  NOUVEAU_SVM_BIND_TARGET_SHIFT,
	};
	struct nouveau_test_bind arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	args.va_start = arg.addr;
	args.va_end = arg.addr + arg.size;
	return nouveau_svmm_bind(&client->gpu->ddev, &args, &client->file);
}

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct test_client *client = file->private_data;
	void __user *user = (void __user *)arg;

	switch (cmd) {
	case NOUVEAU_TEST_IOC_ACCESS:
		return access_ioctl(client, user);
	case NOUVEAU_TEST_IOC_PTE:
		return pte_ioctl(client, user);
	case NOUVEAU_TEST_IOC_STATS:
		return stats_ioctl(client, user);
	case NOUVEAU_TEST_IOC_BIND:
		return bind_ioctl(client, user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.open = test_open,
	.release = test_release,
	.unlocked_ioctl = test_ioctl,
};

static struct miscdevice test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "nouveau_test",
	.fops = &test_fops,
	.mode = 0666,
};

void nouveau_test_dev_init(void)
{
	test_gpu = test_gpu_new(ENTRIES);
	if (!test_gpu)
		return;
	nouveau_svm_init(&test_gpu->drm);
	if (test_gpu->drm.svm && !test_gpu_vram_new(test_gpu) &&
	    !misc_register(&test_misc))
		return;
	nouveau_svm_fini(&test_gpu->drm);
	test_gpu_vram_del(test_gpu);
	test_gpu_del(test_gpu);
	test_gpu = NULL;
}

void nouveau_test_dev_exit(void)
{
	if (!test_gpu)
		return;
	misc_deregister(&test_misc);
	test_gpu_vram_del(test_gpu);
	nouveau_svm_fini(&test_gpu->drm);
	test_gpu_del(test_gpu);
}
