/* Splitting a text into a model's tokens, over tables that lie in a mapped file: nothing is read that is not needed.
 *
 * loader/text/preparing.py makes the tables and explains their layout; what is done with them is what the library
 * ``tokenizers`` does, token for token. Whatever a table lacks, or a damaged table says, ends in REFUSED: the caller
 * then asks the library. No index from the file is used unchecked.
 *
 * Nothing here knows Python, and nothing is global: any number of threads may use one table.
 */
#ifndef TOKENS_H
#define TOKENS_H

#include <stddef.h>
#include <stdint.h>

enum { TABLES_FORMAT = 1 };
static const uint32_t NO_NUMBER = UINT32_MAX;

typedef enum { UNIGRAM, BPE, WORDPIECE, MODELS } ModelKind;
/* How a text becomes words: not at all; BERT's blanks and punctuation; at U+2581, which stands for blanks; the patterns of
 * GPT-2, and of cl100k and its kin. */
typedef enum { WHOLE, BERT, METASPACE, GPT2, CL100K, SPLITTERS } Splitter;

enum { /* options */
    BYTE_LEVEL = 1,      /* symbols are bytes, not characters */
    BYTE_FALLBACK = 2,   /* characters without a piece become bytes */
    FUSE_UNKNOWN = 4,    /* unknown characters in a row are one unknown token */
    IGNORE_MERGES = 8,   /* a word that is a piece needs no merges */
    PREFIX_SPACE = 16,   /* GPT2, CL100K: a text that does not begin with a blank gets one */
    AT_BLANKS = 32,      /* METASPACE: blanks are cut away first */
    PREPEND_ALWAYS = 64, /* METASPACE: in front of every part of a text */
    PREPEND_FIRST = 128, /* METASPACE: in front of the whole text */
    CUT = 256,           /* METASPACE: a word begins at every U+2581 */
};

enum { /* classes of characters */
    LETTER = 1,
    DIGIT = 2,
    BLANK_IN_PATTERN = 4,
    BLANK = 8,
    PUNCTUATION = 16,
    JOINS = 32,   /* belongs to the character before it */
    BREAKS = 64,  /* nothing belongs to it */
    FOREIGN = 128, /* texts with it are the library's */
    CHANGES = 256, /* in CHARACTERS; or an ASCII character that the charsmap changes */
    VANISHES = 512 /* CHARACTERS makes nothing of it, and has no entry */
};

enum {
    CLASS_INDEX, /* uint16: the page of each 256 code points */
    CLASS_PAGES, /* uint16: 256 classes a page */
    PIECES,      /* Slot */
    POOL,        /* the bytes of everything that slots and characters point into */
    SCORES,      /* double, by number */
    MERGES,      /* Merge */
    BYTES,       /* uint32: the number of each byte */
    LITERAL,     /* Slot: added tokens that are found in the text as it is */
    NORMALISED,  /* Slot: added tokens that are found in the normalised text */
    CHARACTERS,  /* Character: what the normaliser makes of each, if something else */
    CHARSMAP,    /* uint32: a double-array trie of sentencepiece */
    CHARSMAP_TEXT,
    SETTINGS, /* JSON, for Python */
    SECTIONS
};

typedef struct {
    uint32_t crc, place, length, number; /* length 0: an empty slot */
} Slot;

typedef struct {
    uint32_t left, right, rank, made; /* made NO_NUMBER: an empty slot */
} Merge;

typedef struct {
    uint32_t code, place, length; /* code NO_NUMBER: an empty slot */
} Character;

typedef struct {
    char magic[8];
    uint32_t format, model, splitter, options;
    uint32_t unknown; /* a number or NO_NUMBER */
    uint32_t longest_word, longest_piece, longest_added, most_digits, most_probes;
    double unknown_score;
    uint64_t sections[SECTIONS][2]; /* place and size in bytes */
} Header;

typedef struct {
    Header header;
    const uint8_t *bytes[SECTIONS];
    size_t sizes[SECTIONS];
} Tables;

typedef enum { DONE, REFUSED, NO_MEMORY } Result;

typedef struct {
    uint32_t *items;
    size_t count, room;
} Numbers;

typedef struct {
    uint8_t *bytes;
    size_t size, room;
} Text;

/* Finds the sections in a file's content. Returns REFUSED if they are not inside of it, or not what they should be. */
Result open_tables(Tables *tables, const uint8_t *data, size_t size);

/* Whether a text holds characters on which the tables have nothing to say. */
int has_foreign(const Tables *tables, const uint8_t *text, size_t size);

/* Appends the numbers of the tokens of a part of a text, normalised before. */
Result split_text(const Tables *tables, const uint8_t *text, size_t size, int is_first, Numbers *numbers);

/* Appends what the table of characters makes of a text. */
Result map_characters(const Tables *tables, const uint8_t *text, size_t size, Text *mapped);

/* Appends what sentencepiece's precompiled map makes of a text, as the library applies it. */
Result apply_charsmap(const Tables *tables, const uint8_t *text, size_t size, Text *mapped);

/* The first added token from start on, the longest of several, of the section LITERAL or NORMALISED. Returns its place, or
 * size if there is none; length is 0 for one that only the library can handle. */
size_t find_added(const Tables *tables, int section, const uint8_t *text, size_t size, size_t start, size_t *length,
                  uint32_t *number);

#endif
