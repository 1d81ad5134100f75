/* QEMU plugin: exact executions per address and call site, and which block followed which.
 *
 *   qemu-system-arm ... -plugin counts.so,out=FILE,watch=START-END,watch=START-END
 *
 * Addresses are hexadecimal. A call site is the last address executed inside the watched ranges
 * (run/counts.py). FILE has three kinds of lines:
 *
 * - S <site> <address that followed it the first time>, in the order of first execution;
 * - I <site> <address> <executions>;
 * - E <site of from> <from> <to> <times>, of every block after another.
 *
 * With step=ADDRESS,init=ADDRESS,count=START-END in place of watch, FILE has a line for every step:
 *
 * - T <instructions in the counted ranges from the one at `step` on, until the next or the one at `init`>.
 *
 * QEMU's sizes of instructions are not used: at the end of a page they cover bytes of the next one.
 * No distribution packages qemu-plugin.h, so the part of the public interface in use is declared.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
                                                  void (*callback)(qemu_plugin_id_t,
                                                                   struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
                                                   void (*callback)(unsigned, void *), int flags, void *data);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*callback)(qemu_plugin_id_t, void *),
                                           void *data);
extern int qemu_plugin_version;
extern int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv);

int qemu_plugin_version = QEMU_PLUGIN_INTERFACE;

#define TABLE_SIZE (1u << 20)
#define MAX_RANGES 8
#define MAX_SITES 4096
#define NO_SITE 0
#define STEPS_AT_ONCE 4096

typedef struct {
    char kind; /* 'I': at address a; 'E': from a to b; 0: free */
    uint64_t site;
    uint64_t a;
    uint64_t b;
    uint64_t count;
} entry;

typedef struct {
    uint64_t start;
    uint64_t end;
} range;

static entry table[TABLE_SIZE];
static uint32_t used;
static range watched[MAX_RANGES];
static size_t watched_count;
static uint64_t sites[MAX_SITES][2];
static size_t site_count;

static uint64_t step_start, init_start; /* 0: sites are told apart, not steps */
static uint64_t *steps;
static size_t step_count;
static int in_step;

static uint64_t site = NO_SITE;
static int last_exists;
static uint64_t last;       /* address of the last instruction, */
static uint64_t last_site;  /* and its site */
static int last_is_watched; /* whether the next one tells where the site went */
static const char *out_path;

static void fail(const char *reason)
{
    (void)fprintf(stderr, "counts plugin: %s\n", reason);
    exit(98);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    return x ^ (x >> 33);
}

static entry *find(char kind, uint64_t at_site, uint64_t a, uint64_t b)
{
    uint64_t i = mix(a * 31u + b * 17u + at_site + (uint64_t)kind);
    for (;; i++) {
        entry *e = &table[i % TABLE_SIZE];
        if (e->kind == 0) {
            if (++used > TABLE_SIZE / 2) {
                fail("too many addresses");
            }
            *e = (entry){kind, at_site, a, b, 0};
            return e;
        }
        if (e->kind == kind && e->site == at_site && e->a == a && e->b == b) {
            return e;
        }
    }
}

static int is_watched(uint64_t pc)
{
    for (size_t i = 0; i < watched_count; i++) {
        if (pc >= watched[i].start && pc < watched[i].end) {
            return 1;
        }
    }
    return 0;
}

static void note_site(uint64_t next)
{
    for (size_t i = 0; i < site_count; i++) {
        if (sites[i][0] == site) {
            return;
        }
    }
    if (site_count == MAX_SITES) {
        fail("too many call sites");
    }
    sites[site_count][0] = site;
    sites[site_count++][1] = next;
}

/* `data` is the instruction's address, plus 1 for the first of a block: addresses are even. */
static void on_instruction(unsigned cpu, void *data)
{
    int starts_block = ((uintptr_t)data & 1u) != 0;
    uint64_t pc = (uint64_t)(uintptr_t)data & ~(uint64_t)1;
    int watched_now = is_watched(pc);
    uint64_t at_site = watched_now ? NO_SITE : site;
    (void)cpu;
    if (last_is_watched && !watched_now) {
        note_site(pc);
    }
    find('I', at_site, pc, 0)->count++;
    if (starts_block && last_exists) {
        find('E', last_site, last, pc)->count++;
    }
    if (watched_now) {
        site = pc;
    }
    last = pc;
    last_site = at_site;
    last_is_watched = watched_now;
    last_exists = 1;
}

static void add_step(void)
{
    if (step_count % STEPS_AT_ONCE == 0) {
        steps = realloc(steps, (step_count + STEPS_AT_ONCE) * sizeof *steps);
        if (steps == NULL) {
            fail("out of memory");
        }
    }
    steps[step_count++] = 0;
}

/* Of instructions in the counted ranges only. */
static void on_counted(unsigned cpu, void *data)
{
    uint64_t pc = (uint64_t)(uintptr_t)data;
    (void)cpu;
    if (pc == step_start) {
        add_step();
    }
    if (pc == step_start || pc == init_start) {
        in_step = pc == step_start;
    }
    if (in_step) {
        steps[step_count - 1]++;
    }
}

static void count_block(struct qemu_plugin_tb *tb)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t pc = qemu_plugin_insn_vaddr(insn);
        if (is_watched(pc)) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_counted, 0, (void *)(uintptr_t)pc);
        }
    }
}

static void on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    if (step_start != 0) {
        count_block(tb);
        return;
    }
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t data = qemu_plugin_insn_vaddr(insn) | (i == 0);
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_instruction, 0, (void *)(uintptr_t)data);
    }
}

static void write_entry(FILE *out, const entry *e)
{
    if (e->kind == 'I') {
        (void)fprintf(out, "I %" PRIx64 " %" PRIx64 " %" PRIu64 "\n", e->site, e->a, e->count);
    } else if (e->kind == 'E') {
        (void)fprintf(out, "E %" PRIx64 " %" PRIx64 " %" PRIx64 " %" PRIu64 "\n", e->site, e->a, e->b,
                      e->count);
    }
}

static void write_counts(qemu_plugin_id_t id, void *data)
{
    FILE *out = fopen(out_path, "w");
    (void)id;
    (void)data;
    if (out == NULL) {
        fail("cannot write the counts");
    }
    for (size_t i = 0; i < step_count; i++) {
        (void)fprintf(out, "T %" PRIu64 "\n", steps[i]);
    }
    for (size_t i = 0; i < site_count; i++) {
        (void)fprintf(out, "S %" PRIx64 " %" PRIx64 "\n", sites[i][0], sites[i][1]);
    }
    for (size_t i = 0; i < TABLE_SIZE; i++) {
        write_entry(out, &table[i]);
    }
    (void)fclose(out);
}

/* `watch` and `count` ranges are the same list: a run has one kind or the other. */
static void parse_argument(char *argument)
{
    char *value = strchr(argument, '=');
    size_t key = value == NULL ? 0 : (size_t)(value++ - argument);
    if (key == 3 && strncmp(argument, "out", key) == 0) {
        out_path = strdup(value);
    } else if (key == 4 && strncmp(argument, "step", key) == 0) {
        step_start = strtoull(value, NULL, 16);
    } else if (key == 4 && strncmp(argument, "init", key) == 0) {
        init_start = strtoull(value, NULL, 16);
    } else if (key == 5 && watched_count < MAX_RANGES) {
        char *end;
        watched[watched_count].start = strtoull(value, &end, 16);
        watched[watched_count++].end = strtoull(end + 1, NULL, 16);
    } else {
        fail("expected out=FILE,watch=START-END or out=FILE,step=ADDRESS,init=ADDRESS,count=START-END");
    }
}

int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; i++) {
        parse_argument(argv[i]);
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
    qemu_plugin_register_atexit_cb(id, write_counts, NULL);
    return 0;
}
