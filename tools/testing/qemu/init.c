// SPDX-License-Identifier: GPL-2.0
/*
 * The first and only program of the guest: does what /scenario says, reports on
 * the console, sends a verdict on a line of its own and powers off. As long as
 * nothing has been sent, the run has failed.
 *
 * A line of /scenario is one of
 *	module FILE [ARGUMENTS]		load a module
 *	node NAME PATH N		devices 0 to N - 1 of character driver NAME
 *	write FILE TEXT			put TEXT into FILE
 *	uid N				run the tests from here on as user N
 *	repeat N			run all tests N times
 *	test NAME SECONDS COMMAND	a test: exit status 0 is good, 4 is skipped;
 *					what it says in TAP counts one by one
 *	xfail NAME REASON		that test is known to fail
 *	shell				give the user a shell
 *
 * What stands on the kernel's command line as NAME=VALUE, in capitals, is there for
 * the tests' commands as a variable. By RUN_SECONDS each test gets more time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define __printf(fmt, args) __attribute__((__format__(printf, fmt, args)))

#define SCENARIO	"/scenario"
#define VERDICT		"/dev/ttyS1"
#define SKIPPED		4	/* the exit status by which kselftest says so */
#define MAX_LINE	960	/* what fits into one record of /dev/kmsg */
#define MAX_TESTS	64

struct test {
	char *name;
	char *command;
	char *xfail;
	int seconds;
	int uid;
};

/* What one test has said in TAP; planned is -1 without a plan. */
struct results {
	int passed, failed, skipped, planned;
};

static struct test tests[MAX_TESTS];
static int nr_tests;
static int repeat = 1;
static int uid;
static bool want_shell;
static struct results total;
static int kmsg = -1;

/*
 * The console is the kernel's log, so that what a test says and what the kernel says
 * about it stay in order, each on whole lines.
 */
static void __printf(1, 2) say(const char *fmt, ...)
{
	char line[MAX_LINE + 1];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	if (write(kmsg, line, n) < 0)
		dprintf(STDERR_FILENO, "%s\n", line);
}

static void verdict(const char *word)
{
	int fd = open(VERDICT, O_WRONLY | O_NOCTTY);

	dprintf(fd, "%s %d %d %d\n", word, total.passed, total.failed, total.skipped);
	tcdrain(fd);
}

static void __attribute__((noreturn)) power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static void __attribute__((noreturn)) __printf(1, 2) die(const char *fmt, ...)
{
	char why[MAX_LINE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	say("Bail out! %s: %s", why, strerror(errno));
	verdict("fail");
	power_off();
}

static void mount_at(const char *type, const char *where, const char *options)
{
	mkdir(where, 0755);
	if (mount(type, where, type, 0, options))
		die("mount %s", where);
}

static void mount_all(void)
{
	mount_at("devtmpfs", "/dev", NULL);
	mount_at("proc", "/proc", NULL);
	mount_at("sysfs", "/sys", NULL);
	mount_at("debugfs", "/sys/kernel/debug", NULL);
	mount_at("tmpfs", "/tmp", "mode=1777");
	mount_at("tmpfs", "/dev/shm", "mode=1777");
	mount_at("hugetlbfs", "/huge", NULL);
	mount_at("cgroup2", "/cgroup", NULL);
}

static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die("write %s to %s", text, path);
	close(fd);
}

static void load_module(const char *path, const char *args)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || syscall(SYS_finit_module, fd, args, 0))
		die("load %s", path);
	close(fd);
}

/* The major number of a character driver, which has no device class to name it. */
static int major_of(const char *driver)
{
	FILE *file = fopen("/proc/devices", "re");
	char line[128], name[64];
	int n, major = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%d %63s", &n, name) == 2 && !strcmp(name, driver))
			major = n;
	}
	if (file)
		fclose(file);
	return major;
}

static void make_nodes(const char *driver, const char *path, int count)
{
	int major = major_of(driver);
	char node[128];

	errno = ENODEV;
	if (major < 0)
		die("driver %s", driver);
	for (int i = 0; i < count; i++) {
		snprintf(node, sizeof(node), "%s%d", path, i);
		if (mknod(node, S_IFCHR | 0666, makedev(major, i)))
			die("mknod %s", node);
		chmod(node, 0666);
	}
}

/* The next word of a line, and then what is left of the line. */
static char *word(char **line)
{
	char *start = *line + strspn(*line, " \t");

	*line = start + strcspn(start, " \t");
	if (**line)
		*(*line)++ = '\0';
	*line += strspn(*line, " \t");
	return start;
}

static void add_test(char *line)
{
	struct test *test = &tests[nr_tests++];

	errno = E2BIG;
	if (nr_tests > MAX_TESTS)
		die("too many tests");
	test->name = word(&line);
	test->seconds = atoi(word(&line)) + atoi(getenv("RUN_SECONDS") ?: "0");
	test->command = line;
	test->uid = uid;
}

static void mark_xfail(char *line)
{
	char *name = word(&line);

	for (int i = 0; i < nr_tests; i++)
		if (!strcmp(tests[i].name, name))
			tests[i].xfail = line;
}

/* Lines take effect in the order they stand; tests are run after the last. */
static void obey(char *line)
{
	char *what = word(&line);

	if (!strcmp(what, "module")) {
		what = word(&line);
		load_module(what, line);
	} else if (!strcmp(what, "node")) {
		char *driver = word(&line), *path = word(&line);

		make_nodes(driver, path, atoi(line));
	} else if (!strcmp(what, "write")) {
		what = word(&line);
		write_file(what, line);
	} else if (!strcmp(what, "uid")) {
		uid = atoi(line);
	} else if (!strcmp(what, "repeat")) {
		repeat = atoi(line);
		errno = EINVAL;
		if (repeat < 1)
			die("repeat %s", line);
	} else if (!strcmp(what, "test")) {
		add_test(line);
	} else if (!strcmp(what, "xfail")) {
		mark_xfail(line);
	} else if (!strcmp(what, "shell")) {
		want_shell = true;
	} else {
		errno = EINVAL;
		die("%s: %s", SCENARIO, what);
	}
}

static void read_scenario(void)
{
	FILE *file = fopen(SCENARIO, "re");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		die("%s", SCENARIO);
	while (getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (*line && *line != '#')
			obey(strdup(line));	/* for good: tests point into it */
	}
	free(line);
	fclose(file);
	errno = ENOENT;
	if (!nr_tests && !want_shell)
		die("%s: a test", SCENARIO);
}

/* Count a line if it is a result, and pass it on, indented as a subtest's. */
static void take_line(const char *line, struct results *res)
{
	bool good = !strncmp(line, "ok ", 3);
	bool bad = !strncmp(line, "not ok ", 7);
	int first, last;

	if ((good && strstr(line, "# SKIP")) || (bad && strstr(line, "# TODO")))
		res->skipped++;
	else if (good)
		res->passed++;
	else if (bad)
		res->failed++;
	else if (sscanf(line, "%d..%d", &first, &last) == 2)
		res->planned = last;
	say("    %s", line);
}

/* Take what has come through the pipe; keep an unfinished line for the next time. */
static bool take_output(int fd, struct results *res)
{
	static char buf[MAX_LINE - 8];
	static size_t used;
	char *start = buf, *end;
	ssize_t n;

	n = read(fd, buf + used, sizeof(buf) - 1 - used);
	if (n > 0)
		used += n;
	buf[used] = '\0';
	while ((end = strchr(start, '\n'))) {
		*end = '\0';
		take_line(start, res);
		start = end + 1;
	}
	used -= start - buf;
	memmove(buf, start, used);
	if (used && (n <= 0 || used == sizeof(buf) - 1)) {
		buf[used] = '\0';
		take_line(buf, res);
		used = 0;
	}
	return n > 0;
}

static pid_t start_test(const struct test *test, int *out)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		die("pipe");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		setsid();
		dup2(fds[1], STDOUT_FILENO);
		dup2(fds[1], STDERR_FILENO);
		if (chdir("/tmp") || setgid(test->uid) || setuid(test->uid))
			_exit(127);
		execl("/bin/sh", "sh", "-c", test->command, NULL);
		_exit(127);
	}
	close(fds[1]);
	*out = fds[0];
	return pid;
}

static long seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/*
 * A test that outstays its time is shown (what every blocked task and CPU is at), then
 * killed. If even that does not end it there is no use going on.
 */
static void time_out(const struct test *test, pid_t pid)
{
	say("# %s: timed out after %d s", test->name, test->seconds);
	write_file("/proc/sysrq-trigger", "w");
	write_file("/proc/sysrq-trigger", "l");
	kill(-pid, SIGKILL);
	for (int i = 0; i < 100; i++) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return;
		usleep(100 * 1000);
	}
	errno = ETIMEDOUT;
	total.failed++;
	die("%s cannot be killed", test->name);
}

/* Returns the wait status, or -1 when the test ran out of time. */
static int wait_for(const struct test *test, pid_t pid, int out, struct results *res)
{
	long end = seconds_now() + test->seconds;
	struct pollfd pfd = { .fd = out, .events = POLLIN };
	bool open = true;
	int status;

	while (seconds_now() < end) {
		if (open && poll(&pfd, 1, 200) > 0)
			open = take_output(out, res);
		else if (!open)
			usleep(10 * 1000);
		if (waitpid(pid, &status, WNOHANG) == pid) {
			fcntl(out, F_SETFL, O_NONBLOCK);
			while (take_output(out, res))
				;
			return status;
		}
	}
	time_out(test, pid);
	fcntl(out, F_SETFL, O_NONBLOCK);
	while (take_output(out, res))
		;
	return -1;
}

/* Why a test is not good, or NULL. */
static const char *fault_of(int status, const struct results *res)
{
	static char why[64];
	int seen = res->passed + res->failed + res->skipped;

	if (status == -1)
		return "timed out";
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		snprintf(why, sizeof(why), "exit status %d", WEXITSTATUS(status));
	else if (res->failed)
		snprintf(why, sizeof(why), "%d failed", res->failed);
	else if (!res->planned)
		return "a plan of no tests";
	else if (res->planned > 0 && seen != res->planned)
		snprintf(why, sizeof(why), "%d results of %d", seen, res->planned);
	else
		return NULL;
	return why;
}

/*
 * The test's own line. What counts is each result it has given, or the test itself
 * when it gave none, or failed without saying which.
 */
static void conclude(int nr, const struct test *test, int status, struct results *res)
{
	const char *why = fault_of(status, res);
	bool skipped = WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
	bool silent = !res->passed && !res->failed && !res->skipped;

	if (skipped && !res->failed) {
		say("ok %d - %s # SKIP", nr, test->name);
		res->skipped += silent;
	} else if (why && test->xfail) {
		say("not ok %d - %s # TODO %s (%s)", nr, test->name, test->xfail, why);
		res->skipped += res->failed + silent;
		res->failed = 0;
	} else if (why) {
		say("not ok %d - %s # %s", nr, test->name, why);
		res->failed += !res->failed;
	} else {
		say("ok %d - %s", nr, test->name);
		res->passed += silent;
	}
	total.passed += res->passed;
	total.failed += res->failed;
	total.skipped += res->skipped;
}

static void run_test(int nr, const struct test *test)
{
	struct results res = { .planned = -1 };
	int out, status;
	pid_t pid;

	say("    # Subtest: %s", test->name);
	pid = start_test(test, &out);
	status = wait_for(test, pid, out, &res);
	close(out);
	conclude(nr, test, status, &res);
}

static void run_tests(void)
{
	say("TAP version 14");
	say("1..%d", nr_tests * repeat);
	for (int i = 0; i < nr_tests * repeat; i++)
		run_test(i + 1, &tests[i % nr_tests]);
}

static void run_shell(void)
{
	pid_t pid = fork();

	if (!pid) {
		setsid();
		close(STDIN_FILENO);
		open("/dev/console", O_RDWR);
		ioctl(STDIN_FILENO, TIOCSCTTY, 1);
		setenv("PS1", "guest# ", 1);
		execl("/bin/sh", "sh", NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

int main(void)
{
	mount_all();
	open_console();
	say("init: started");
	setenv("PATH", "/bin:/tests", 1);
	setenv("HOME", "/tmp", 1);
	read_scenario();
	if (want_shell)
		run_shell();
	else
		run_tests();
	verdict(total.failed ? "fail" : "pass");
	power_off();
}
