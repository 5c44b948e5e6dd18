// SPDX-License-Identifier: GPL-2.0
/*
 * Measure device-exclusive memory: what making a range exclusive costs, and what
 * releasing it, as a driver would do it but with no device to program.
 */
#include <linux/device_exclusive.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "test_device_exclusive_uapi.h"

/* One for each open file; its address is the owner. */
struct bench {
	struct page *pages[DEVICE_EXCLUSIVE_BENCH_MAX_CHUNK];
};

struct bench_notifier {
	struct mmu_notifier mn;
	atomic64_t ended;
};

static void bench_range_end(struct mmu_notifier *mn,
			    const struct mmu_notifier_range *range)
{
	atomic64_inc(&container_of(mn, struct bench_notifier, mn)->ended);
}

static const struct mmu_notifier_ops bench_notifier_ops = {
	.invalidate_range_end	= bench_range_end,
};

static int bench_chunk(struct bench *bench, struct mm_struct *mm,
		       unsigned long start, unsigned long end,
		       struct device_exclusive_bench *cmd)
{
	cycles_t begin, made, released;
	int i, n;

	mmap_read_lock(mm);
	begin = get_cycles();
	n = device_exclusive_make_range(mm, start, end, bench->pages, bench);
	made = get_cycles();
	mmap_read_unlock(mm);

	cmd->calls++;
	cmd->make += made - begin;
	if (n <= 0)
		return n;

	/* An implementation may leave out pages that it could not have. */
	for (i = 0; i < n; i++)
		cmd->made += !!bench->pages[i];

	begin = get_cycles();
	device_exclusive_put_range(bench->pages, n);
	released = get_cycles();
	cmd->release += released - begin;
	return n;
}

static int bench_range(struct bench *bench, struct device_exclusive_bench *cmd)
{
	unsigned long addr = cmd->addr;
	unsigned long end = addr + (cmd->npages << PAGE_SHIFT);
	unsigned long chunk = (unsigned long)cmd->chunk << PAGE_SHIFT;
	int n;

	while (addr < end) {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		n = bench_chunk(bench, current->mm, addr,
				min(end, addr + chunk), cmd);
		if (n <= 0)
			return n ? n : -EBUSY;
		addr += (unsigned long)n << PAGE_SHIFT;
	}
	return 0;
}

static int bench_range_notified(struct bench *bench,
				struct device_exclusive_bench *cmd)
{
	struct bench_notifier notifier = { .mn.ops = &bench_notifier_ops };
	int ret;

	ret = mmu_notifier_register(&notifier.mn, current->mm);
	if (ret)
		return ret;
	ret = bench_range(bench, cmd);
	mmu_notifier_unregister(&notifier.mn, current->mm);
	cmd->events = atomic64_read(&notifier.ended);
	return ret;
}

static long bench_ioctl(struct file *file, unsigned int request,
			unsigned long arg)
{
	struct device_exclusive_bench __user *user = (void __user *)arg;
	struct device_exclusive_bench cmd;
	int ret;

	if (request != DEVICE_EXCLUSIVE_BENCH_RUN)
		return -ENOTTY;
	if (copy_from_user(&cmd, user, sizeof(cmd)))
		return -EFAULT;
	if (!cmd.chunk || cmd.chunk > DEVICE_EXCLUSIVE_BENCH_MAX_CHUNK ||
	    cmd.npages > TASK_SIZE >> PAGE_SHIFT || !PAGE_ALIGNED(cmd.addr) ||
	    cmd.addr > TASK_SIZE - (cmd.npages << PAGE_SHIFT))
		return -EINVAL;

	cmd.calls = 0;
	cmd.made = 0;
	cmd.make = 0;
	cmd.release = 0;
	cmd.events = 0;
	if (cmd.notifier)
		ret = bench_range_notified(file->private_data, &cmd);
	else
		ret = bench_range(file->private_data, &cmd);
	if (copy_to_user(user, &cmd, sizeof(cmd)))
		return -EFAULT;
	return ret;
}

static int bench_open(struct inode *inode, struct file *file)
{
	struct bench *bench = kzalloc(sizeof(*bench), GFP_KERNEL);

	file->private_data = bench;
	return bench ? 0 : -ENOMEM;
}

static int bench_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static const struct file_operations bench_fops = {
	.owner		= THIS_MODULE,
	.open		= bench_open,
	.release	= bench_release,
	.unlocked_ioctl	= bench_ioctl,
};

static struct miscdevice bench_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "device_exclusive_bench",
	.fops	= &bench_fops,
	.mode	= 0666,
};

module_misc_device(bench_device);
MODULE_DESCRIPTION("Measure device-exclusive memory");
MODULE_LICENSE("GPL");
