/* SPDX-License-Identifier: MIT */
/* Inside of serve/: what connection, request and accounting share. */
#ifndef SERVE_SERVE_PRIV_H
#define SERVE_SERVE_PRIV_H

#include "serve/serve.h"

#include <errno.h>
#include <fcntl.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/copy.h"
#include "conf/conf.h"
#include "serve/access_log.h"
#include "shm/shm.h"

#define BUF_SMALL   2048u          /* what a parked head or a few waiting bytes keep */
#define BUF_BIG     32768u         /* what a turn reads into and writes from */
#define OUT_RESERVE 8192u          /* free in the output before a request begins */
#define ROOM_MIN    4096u          /* free in the input before it is read into */
#define DROP_MAX    65536u         /* of a body that nobody wants, to keep the connection alive */
#define FLUSH_MAX   (512u * 1024u) /* written to one connection per turn */
#define FILE_CHUNK  (256u * 1024u)
#define LINGER_NS   (2 * NS_PER_S) /* of silence after our end is closed, then it is cut */
#define LINGER_RATE 65536u         /* ... or after them, when it sends on, but more slowly */
#define LINGER_MAX_NS (30 * NS_PER_S)
#define TYPE_MAX    1024u          /* a longer Content-Type of an answer is left out */
#define EXTRA_MAX   (REQUEST_FIELDS_MAX + 2048u) /* fields of a handler, and what joins them */
#define COPY_MAX    4096u          /* bodies up to this are copied behind their head */
#define ARENA_MAX   4096u
#define ID_LEN      16u            /* of a request id of ours */
#define PEND_MAX    32u

/* A buffer of one of three sizes: small and big come from pools, a larger one from the heap. */
struct buf {
	struct buf *next;          /* in its pool */
	uint32_t cap;
	uint32_t start, end;       /* bytes not yet used: data[start..end) */
	uint32_t head_len;         /* data[0..head_len) is the head of the running request */
	size_t scan;               /* how far the parser has looked */
	char data[];
};

/* Each connection is on exactly one list, oldest first: who goes when room is needed. One that has
 * not had a request yet is on CL_HEAD, with or without a byte of it. */
enum conn_list { CL_IDLE, CL_HEAD, CL_BODY, CL_BUSY, CL_WRITE, CL_LINGER, CL_COUNT };

struct conn {
	struct watch watch;        /* first: see conn_of_watch() */
	struct timer timer;
	struct serve *serve;
	struct conn *prev, *next;  /* `next` also links the free ones */
	struct buf *in, *out;      /* NULL while empty: an idle connection holds no buffer */
	struct request *req;       /* the one request that runs; NULL = none */
	struct request_end *ends;  /* of answers in the output: told when it is empty */
	uint64_t since_ns;         /* first byte of the head being read, or begin of idleness */
	uint64_t progress_ns;      /* when the client came, or last took bytes; lingering: sent */
	uint64_t sent;             /* bytes, since it came onto its list */
	uint64_t mark_ns;          /* when its pace was looked at last; 0 = not yet */
	int64_t mark_bytes;
	struct net_addr peer;
	uint8_t list;              /* enum conn_list */
	bool fresh;                /* no request yet */
	bool eof;                  /* all input has been read, and the client sends no more */
	bool peer_done;            /* told so while the input was not being read */
	bool closing;              /* no further request; close when the output is empty */
	bool linger;               /* ... but let the client read first: input may be unread */
	bool drained;              /* the last read took all that there was: see conn_read() */
	bool blocked;              /* the last write did not take everything */
	bool processing;           /* between an entry from the loop and conn_leave() */
	bool dead;                 /* to be freed by conn_settle() */
	char peer_text[NET_TEXT_MAX];
};

/* What the coding of an answer's body depends on, and what it is. The order is that of what may be
 * done: less, then more. */
enum coding {
	CODING_NONE,   /* it is what it is, for every client */
	CODING_VARIES, /* as it is, for this client */
	CODING_GZIP
};

enum answer_kind { ANS_NONE, ANS_COPIED, ANS_MEM, ANS_PARTS, ANS_PULL, ANS_FILE };

struct request {
	struct request *next;      /* in the pool */
	struct serve *serve;
	struct conn *conn;
	struct http_request head;
	struct slice id, path;
	uint64_t since_ns;
	uint64_t deadline_ns;      /* of the head of the answer; UINT64_MAX = none */
	enum shm_row_state waits_as; /* state of its row while its handler has it */

	/* body */
	request_body_f *body_cb;
	void *body_arg;
	struct http_chunked chunked;
	uint64_t body_left;        /* of a Content-Length */
	uint64_t body_bytes;       /* data bytes so far */
	uint64_t body_since_ns;    /* begin of the reading; moved on by pauses */
	uint64_t pause_ns;         /* when the handler said stop; 0 = it reads */
	uint64_t dropped;
	uint64_t body_max;
	bool body_done, body_told_end, continue_sent;

	/* answer */
	enum answer_kind kind;
	int status;
	bool head_done;            /* the head of the answer is in the output */
	bool produced;             /* all of the answer is in the output or written */
	bool until_close;          /* only the end of the connection ends its body */
	bool close, no_body, chunked_out, accounted, is_status, failed, broken_head;
	struct slice content_type; /* for the access log */
	const char *mem;           /* a body that is not copied */
	void (*release)(void *arg); /* called when the answer needs its memory or source no more */
	void *release_arg;
	uint64_t part_off, part_left;
	request_part_f *part;
	const void *part_arg;
	uint32_t part_at;          /* which part is sent; part_off: from where in it */
	int file_fd;
	request_fill_f *fill;
	void *fill_arg;
	bool fill_waits;           /* the last fill gave nothing */
	uint64_t answer_since_ns, fill_ns;
	uint64_t ready_ns;         /* when it was whole: from here on it is us who are slow */
	uint64_t body_sent;
	enum coding coding;
	struct gzip_stream *gzip;  /* compresses the body on its way out; NULL = none does */

	request_gone_f *gone_cb, *hangup_cb;
	void *gone_arg;
	struct request_end *on_end;
	const struct request_rules *rules;
	struct request_tap *taps;
	uint32_t route;
	uint32_t row;              /* UINT32_MAX = none */
	struct net_addr client;
	bool client_known, forwarded;

	uint32_t extra_len, arena_used;
	char id_text[ID_LEN + 1];
	char content_type_text[96];
	char extra[EXTRA_MAX];
	_Alignas(16) char arena[ARENA_MAX];
	/* then: fields_max x struct http_field, then line_max + 1 bytes of path */
};

struct pend {                      /* answers that are ready but not written: counted as one */
	uint32_t route, method;
	int status;
	uint32_t times;
	uint64_t since_ns;
	uint64_t ready_ns, head_ns; /* begin and end of what counts as slow; head 0 = until now */
	uint32_t row;               /* of the last of them; UINT32_MAX = none */
	struct shm_row_mark mark;
};

struct serve {
	const struct heritage *h;
	const struct settings *set;
	struct loop *loop;
	struct shm_slot *slot;
	bool forks;                    /* code of others runs here: it may fork */
	bool keeper;
	serve_handler_f *handler;
	void *handler_arg;

	uint8_t *fd_mine;              /* bits: descriptor numbers that belong to connections */
	uint32_t fd_max;

	uint32_t max, nconns, used;    /* used: elements of the slab ever taken */
	struct conn *slab, *free;
	struct { struct conn *first, *last; } list[CL_COUNT];

	struct buf *small_free, *big_free;
	struct request *req_free;
	struct gzip *gzip;             /* NULL = no answer is compressed */
	size_t req_size;
	uint32_t huge_cap;
	struct http_limits limits;

	uint16_t *row_free;
	uint32_t nrow_free;
	uint32_t npend;
	struct pend pend[PEND_MAX];

	uint64_t header_ns, keepalive_ns, request_ns, write_ns, stream_idle_ns, stream_ns;
	uint64_t min_body_rate;
	uint64_t slow_ns;              /* UINT64_MAX = slow requests are not told of */
	uint64_t slow_since_ns;        /* begin of the second that lines are counted in */
	uint32_t slow_lines, slow_untold;

	uint64_t id_seed, id_count;
	uint64_t date_due_ns;          /* when `fixed` is to be made anew */
	uint32_t fixed_len, fixed_at;  /* where the fields begin */
	char fixed[128];               /* "HTTP/1.1 200 OK\r\nServer: ...\r\nDate: ...\r\n" */

	bool draining, done_told;
	uint64_t drain_ns, drain_idle_ns; /* since when; how long idle connections are kept */
	void (*done)(struct serve *s, void *arg);
	void *done_arg;

	struct access_log *access;     /* NULL = off */
};

/* After a system call on a connection's descriptor has failed with `err`: is it still ours? User
 * code that closes a descriptor that is not its own must not lead to a second owner of it. */
#define FD_CLOSED "a descriptor of ours was closed by the app: a client's connection"
static inline void fd_failed(int fd, int err)
{
	CHECK_SAY(err != ENOTSOCK && (err != EBADF || fcntl(fd, F_GETFD) >= 0), FD_CLOSED);
}

/* conn.c */
void conn_kick(struct conn *c);        /* something outside of its events has changed */
bool conn_flush(struct conn *c);       /* true: the output is empty; false: blocked or dead */
struct buf *conn_out(struct conn *c);  /* its output; NULL = no memory (the connection is dead) */
void conn_die(struct conn *c);         /* at once; what is unsent is lost */

/* pool.c */
struct buf *buf_get(struct serve *s, uint32_t size);
void buf_put(struct serve *s, struct buf *b);
struct request *req_get(struct serve *s);
void req_put(struct request *r);
void pool_fini(struct serve *s);

/* request.c */
enum step { STEP_MORE, STEP_WAIT }; /* go on at once; when something has happened */
/* Begins the next request of the input. STEP_WAIT: needs more bytes. */
enum step request_begin(struct conn *c);
/* Carries the running request on. STEP_MORE: it has ended, or there is more to do. */
enum step request_step(struct request *r);
/* Answers what is not a request, or not a whole one, with an error; the connection ends. */
void request_refuse(struct conn *c, enum http_err e);
bool request_wants_input(const struct request *r);
/* The client is gone or the connection is given up: tells the handler, frees. */
void request_abort(struct request *r);
uint64_t request_body_due(const struct request *r); /* MIN_BODY_RATE */
/* Ends a request that is late or too large: a problem document if the head is not out yet. */
void request_fail(struct request *r, int status, const char *detail);

/* tap.c */
/* Before the head is made. `body` is NULL unless it is SEEN_WHOLE; with `len` it becomes what is to
 * be sent. */
void tap_head(struct request *r, int *status, struct slice type, enum request_seen seen,
	      struct slice *body, int64_t *len);
void tap_piece(const struct request *r, struct slice data);
void tap_end(struct request *r, bool whole);

/* answer.c */
void answer_date(struct serve *s);
bool answer_push(struct request *r);   /* heap, file, pull: true = all is written or buffered */
void answer_done(struct request *r);   /* the handler has no further part in the request */
void answer_release(struct request *r);
/* Where the next bytes of a body may be put into the output; then: there are n (0 is borne). */
char *answer_room(const struct request *r, struct buf *b, size_t *ret_cap);
void answer_piece(struct request *r, struct buf *b, size_t n);

/* coding.c: decides, before the head is written, whether the body is compressed; for each way to
 * give one. They return the length for the head, -1 = not known, and set r->coding, and r->gzip
 * when coding_push() is to push the body. *body becomes what is to be sent instead of the handler's
 * bytes; it is valid until the next call of one of them. */
int64_t coding_bytes(struct request *r, int status, struct slice type, struct slice *body);
int64_t coding_pull(struct request *r, int status, struct slice type, int64_t total);
/* *ret_body: small files are read here; absent if it is still to be sent from fd. */
int64_t coding_file(struct request *r, int status, struct slice type, int fd, uint64_t offset,
		    uint64_t len, struct slice *ret_body);
/* The handler's fields, with what the coding adds to them and changes in them. */
void coding_put_fields(struct request *r, struct http_out *o);
bool coding_push(struct request *r);   /* true = all is in the output */
void coding_release(struct request *r);

/* account.c */
void account_begin(struct request *r);
void account_state(struct request *r, enum shm_row_state st);
void account_current(struct serve *s, const struct request *r); /* what the loop works at; NULL */
/* Counts and logs it, once, before its last write, which is to take `more` bytes of the body. */
void account_answer(struct request *r, uint64_t more);
void account_flush(struct serve *s);
void account_end(struct request *r);
/* Counts it under the request's route; r may be NULL. */
void account_error(struct serve *s, const struct request *r, enum shm_error type);
void account_gone(struct request *r); /* its client has left: no answer to count, but to log */

#endif
