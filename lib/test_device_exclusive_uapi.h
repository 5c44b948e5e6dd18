/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Interface of the module that measures device-exclusive memory from inside the
 * kernel. Its user is tools/testing/selftests/vm/hmm-exclusive-bench.c.
 */
#ifndef _LIB_TEST_DEVICE_EXCLUSIVE_UAPI_H
#define _LIB_TEST_DEVICE_EXCLUSIVE_UAPI_H

#include <linux/types.h>
#include <linux/ioctl.h>

/**
 * struct device_exclusive_bench - make a range exclusive, and release it
 *
 * @addr: (in) user address of the first page
 * @npages: (in) number of pages
 * @chunk: (in) pages to ask for at a time, at most
 *	DEVICE_EXCLUSIVE_BENCH_MAX_CHUNK; each chunk is released at once
 * @notifier: (in) whether to have an MMU notifier meanwhile, as a driver has
 * @calls: (out) calls of device_exclusive_make_range()
 * @made: (out) pages that have been made exclusive
 * @make: (out) clock cycles spent in making
 * @release: (out) clock cycles spent in releasing
 * @events: (out) ranges that the notifier has been told of
 */
struct device_exclusive_bench {
	__u64		addr;
	__u64		npages;
	__u32		chunk;
	__u32		notifier;
	__u64		calls;
	__u64		made;
	__u64		make;
	__u64		release;
	__u64		events;
};

#define DEVICE_EXCLUSIVE_BENCH_MAX_CHUNK	512

/* Each open file is an owner of its own. */
#define DEVICE_EXCLUSIVE_BENCH_RUN \
	_IOWR('H', 0x30, struct device_exclusive_bench)

#endif /* _LIB_TEST_DEVICE_EXCLUSIVE_UAPI_H */
