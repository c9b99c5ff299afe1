#include "tokens.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t METASPACE_MARK[] = {0xE2, 0x96, 0x81}; /* U+2581 */
static const uint32_t SPECIAL = 1u << 31; /* set in the number of an added token with rules of its own */
enum { MARK_SIZE = 3, INDEX_SIZE = 0x110000 / 256, PAGE = 256, MOST = 4096 };

/* ---- The file ---- */

static int is_power_of_two(size_t number) { return number && !(number & (number - 1)); }

Result open_tables(Tables *tables, const uint8_t *data, size_t size) {
    static const size_t items[SECTIONS] = {
        [CLASS_INDEX] = 2, [CLASS_PAGES] = 2 * PAGE, [PIECES] = sizeof(Slot), [SCORES] = sizeof(double),
        [MERGES] = sizeof(Merge), [BYTES] = 4, [LITERAL] = sizeof(Slot), [NORMALISED] = sizeof(Slot),
        [CHARACTERS] = sizeof(Character), [CHARSMAP] = 4};
    static const char hashed[SECTIONS] = {[PIECES] = 1, [MERGES] = 1, [LITERAL] = 1, [NORMALISED] = 1, [CHARACTERS] = 1};
    Header *header = &tables->header;
    if (size < sizeof *header || (uintptr_t)data % 8)
        return REFUSED;
    memcpy(header, data, sizeof *header);
    if (memcmp(header->magic, "TOKENS\0", 8) || header->format != TABLES_FORMAT || header->model >= MODELS ||
        header->splitter >= SPLITTERS || header->most_probes > MOST || header->longest_piece > MOST ||
        header->longest_added > MOST || !header->most_digits)
        return REFUSED;
    for (int i = 0; i < SECTIONS; i++) {
        uint64_t place = header->sections[i][0], length = header->sections[i][1];
        if (place > size || length > size - place || place % 8 || (items[i] && length % items[i]))
            return REFUSED;
        if (hashed[i] && length && !is_power_of_two((size_t)length / items[i]))
            return REFUSED;
        tables->bytes[i] = data + place;
        tables->sizes[i] = (size_t)length;
    }
    if (tables->sizes[CLASS_INDEX] != 2 * INDEX_SIZE || (tables->sizes[BYTES] && tables->sizes[BYTES] != 4 * 256))
        return REFUSED;
    return DONE;
}

static Result push(Numbers *numbers, uint32_t number) {
    if (numbers->count == numbers->room) {
        size_t room = numbers->room ? 2 * numbers->room : 64;
        uint32_t *items = realloc(numbers->items, room * sizeof *items);
        if (!items)
            return NO_MEMORY;
        numbers->items = items;
        numbers->room = room;
    }
    numbers->items[numbers->count++] = number;
    return DONE;
}

static Result append(Text *text, const uint8_t *bytes, size_t size) {
    if (size > text->room - text->size) {
        size_t room = 2 * text->room + size + 64;
        uint8_t *grown = realloc(text->bytes, room);
        if (!grown)
            return NO_MEMORY;
        text->bytes = grown;
        text->room = room;
    }
    if (size)
        memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    return DONE;
}

/* ---- Characters: texts are valid UTF-8, because they come from a str ---- */

static size_t length_of(uint8_t first) { return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }

/* The character at a place. Never reads beyond the end. */
static uint32_t code_at(const uint8_t *text, size_t size, size_t at, size_t *length) {
    size_t n = length_of(text[at]);
    if (n > size - at)
        n = size - at;
    *length = n;
    uint32_t code = n == 1 ? text[at] : text[at] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        code = code << 6 | (text[at + i] & 0x3F);
    return code < 0x110000 ? code : 0xFFFD;
}

static unsigned class_of(const Tables *tables, uint32_t code) {
    size_t page = ((const uint16_t *)(const void *)tables->bytes[CLASS_INDEX])[code >> 8];
    if ((page + 1) * 2 * PAGE > tables->sizes[CLASS_PAGES])
        return FOREIGN;
    return ((const uint16_t *)(const void *)tables->bytes[CLASS_PAGES])[page * PAGE + (code & 255)];
}

int has_foreign(const Tables *tables, const uint8_t *text, size_t size) {
    for (size_t at = 0, length; at < size; at += length)
        if (class_of(tables, code_at(text, size, at, &length)) & FOREIGN)
            return 1;
    return 0;
}

/* ---- Hash tables ---- */

/* CRC-32 as zlib computes it, without the final inversion: any number of bytes can be added. */
static const uint32_t *crc_table(void) {
    static const uint32_t table[256] = {
#include "crc32.h"
    };
    return table;
}

static uint32_t crc_more(uint32_t crc, uint8_t byte) { return crc_table()[(crc ^ byte) & 0xFF] ^ crc >> 8; }

static uint32_t crc_of(const uint8_t *bytes, size_t size) {
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++)
        crc = crc_more(crc, bytes[i]);
    return crc;
}

/* The number of a piece whose CRC, not inverted, is known; or NO_NUMBER. */
static uint32_t find(const Tables *tables, int section, uint32_t crc, const uint8_t *piece, size_t size) {
    const Slot *slots = (const void *)tables->bytes[section];
    size_t count = tables->sizes[section] / sizeof *slots;
    crc = ~crc;
    for (uint32_t probe = 0; count && probe < tables->header.most_probes; probe++) {
        const Slot *slot = &slots[((size_t)crc + probe) & (count - 1)];
        if (!slot->length)
            break;
        if (slot->crc == crc && slot->length == size && slot->place <= tables->sizes[POOL] &&
            size <= tables->sizes[POOL] - slot->place && !memcmp(tables->bytes[POOL] + slot->place, piece, size))
            return slot->number;
    }
    return NO_NUMBER;
}

static uint32_t number_of(const Tables *tables, const uint8_t *piece, size_t size) {
    return find(tables, PIECES, crc_of(piece, size), piece, size);
}

static const Merge *find_merge(const Tables *tables, uint32_t left, uint32_t right) {
    const Merge *merges = (const void *)tables->bytes[MERGES];
    size_t count = tables->sizes[MERGES] / sizeof *merges;
    uint32_t hash = left * 0x9E3779B1u ^ right * 0x85EBCA6Bu;
    hash ^= hash >> 15;
    for (uint32_t probe = 0; count && probe < tables->header.most_probes; probe++) {
        const Merge *merge = &merges[((size_t)hash + probe) & (count - 1)];
        if (merge->made == NO_NUMBER)
            break;
        if (merge->left == left && merge->right == right)
            return merge;
    }
    return NULL;
}

static const Character *find_character(const Tables *tables, uint32_t code) {
    const Character *characters = (const void *)tables->bytes[CHARACTERS];
    size_t count = tables->sizes[CHARACTERS] / sizeof *characters;
    uint32_t hash = code * 0x9E3779B1u;
    hash ^= hash >> 15;
    for (uint32_t probe = 0; count && probe < tables->header.most_probes; probe++) {
        const Character *character = &characters[((size_t)hash + probe) & (count - 1)];
        if (character->code == NO_NUMBER)
            break;
        if (character->code == code)
            return character;
    }
    return NULL;
}

size_t find_added(const Tables *tables, int section, const uint8_t *text, size_t size, size_t start, size_t *length,
                  uint32_t *number) {
    const Slot *slots = (const void *)tables->bytes[section];
    size_t count = tables->sizes[section] / sizeof *slots, longest = tables->header.longest_added;
    if (!count)
        return size;
    for (size_t at = start, step; at < size; at += step) {
        step = length_of(text[at]);
        uint32_t crc = UINT32_MAX, found = NO_NUMBER;
        *length = 0;
        for (size_t n = 0; n < longest && n < size - at;) {
            crc = crc_more(crc, text[at + n]);
            n++;
            if (at + n < size && (text[at + n] & 0xC0) == 0x80)
                continue; /* in the middle of a character */
            uint32_t one = find(tables, section, crc, text + at, n);
            if (one != NO_NUMBER) {
                found = one;
                *length = n;
            }
        }
        if (found != NO_NUMBER) {
            *number = found;
            if (found & SPECIAL)
                *length = 0;
            return at;
        }
    }
    return size;
}

/* ---- Normalisers ---- */

Result map_characters(const Tables *tables, const uint8_t *text, size_t size, Text *mapped) {
    Result result = DONE;
    for (size_t at = 0, length; at < size && result == DONE; at += length) {
        uint32_t code = code_at(text, size, at, &length);
        unsigned class = class_of(tables, code);
        if (class & VANISHES)
            continue;
        const Character *character = class & CHANGES ? find_character(tables, code) : NULL;
        if (!character)
            result = append(mapped, text + at, length);
        else if (character->place > tables->sizes[POOL] || character->length > tables->sizes[POOL] - character->place)
            result = REFUSED;
        else
            result = append(mapped, tables->bytes[POOL] + character->place, character->length);
    }
    return result;
}

/* Looks the shortest beginning of a key up in sentencepiece's trie, as Darts-clone stores it. Returns 1 and the place of
 * what it becomes, 0 if there is none, -1 if the trie is damaged. */
static int look_up(const Tables *tables, const uint8_t *key, size_t size, size_t *place) {
    const uint32_t *units = (const void *)tables->bytes[CHARSMAP];
    size_t count = tables->sizes[CHARSMAP] / 4;
    if (!count)
        return -1;
    size_t node = (size_t)(units[0] >> 10) << ((units[0] & 512) >> 6);
    for (size_t i = 0; i < size && key[i]; i++) {
        node ^= key[i];
        if (node >= count)
            return -1;
        uint32_t unit = units[node];
        if ((unit & 0x800000FFu) != key[i])
            return 0;
        node ^= (size_t)(unit >> 10) << ((unit & 512) >> 6);
        if (unit & 256) {
            if (node >= count)
                return -1;
            *place = units[node] & 0x7FFFFFFFu;
            return *place < tables->sizes[CHARSMAP_TEXT] ? 1 : -1;
        }
    }
    return 0;
}

/* Appends what a key becomes. Returns 1 if it becomes something else, 0 if not, negative for a failure: -1 - Result. */
static int transform(const Tables *tables, const uint8_t *key, size_t size, Text *mapped) {
    size_t place = 0;
    int found = look_up(tables, key, size, &place);
    if (found < 1)
        return found ? -1 - REFUSED : 0;
    const uint8_t *from = tables->bytes[CHARSMAP_TEXT] + place;
    const uint8_t *end = memchr(from, 0, tables->sizes[CHARSMAP_TEXT] - place);
    size_t length = end ? (size_t)(end - from) : tables->sizes[CHARSMAP_TEXT] - place;
    return append(mapped, from, length) == DONE ? 1 : -1 - NO_MEMORY;
}

/* The length of the grapheme cluster at a place, as far as it matters: only those shorter than 6 bytes are treated in
 * another way than their characters. Sets is_certain to 0 where more would have to be known. */
static size_t cluster_at(const Tables *tables, const uint8_t *text, size_t size, size_t at, int *is_certain) {
    size_t length, end = at;
    uint32_t code = code_at(text, size, at, &length);
    unsigned class = class_of(tables, code);
    end += length;
    if (code == '\r' && end < size && text[end] == '\n')
        return 2;
    if (class & BREAKS)
        return length;
    while (end < size) {
        uint32_t next = code_at(text, size, end, &length);
        if (!(class_of(tables, next) & JOINS))
            break;
        end += length;
        if (next == 0x200D && (code == 0xA9 || code == 0xAE)) /* might join another picture */
            *is_certain = 0;
    }
    return end - at;
}

Result apply_charsmap(const Tables *tables, const uint8_t *text, size_t size, Text *mapped) {
    for (size_t at = 0; at < size;) {
        if (text[at] >= 0x20 && text[at] < 0x7F && (at + 1 == size || text[at + 1] < 0x80) &&
            !(class_of(tables, text[at]) & CHANGES)) { /* ASCII, and nothing joins it */
            if (append(mapped, text + at, 1) != DONE)
                return NO_MEMORY;
            at++;
            continue;
        }
        int is_certain = 1, found = 0;
        size_t length = cluster_at(tables, text, size, at, &is_certain), end = at + length, step;
        if (!is_certain)
            return REFUSED;
        if (length < 6 && (found = transform(tables, text + at, length, mapped)) < 0)
            return (Result)(-1 - found);
        for (size_t place = at; !found && place < end; place += step) {
            step = length_of(text[place]);
            int one = transform(tables, text + place, step, mapped);
            if (one < 0 || (!one && append(mapped, text + place, step) != DONE))
                return one < 0 ? (Result)(-1 - one) : NO_MEMORY;
        }
        at = end;
    }
    return DONE;
}

/* ---- Models: from a word to its tokens ---- */

/* The path with the highest sum of scores (Kudo 2018, https://arxiv.org/abs/1804.10959), by Viterbi. */
typedef struct {
    double score;
    uint32_t start, number;
} Best;

static Result push_unknown(const Tables *tables, const uint8_t *text, size_t size, Numbers *numbers) {
    const uint32_t *bytes = (const void *)tables->bytes[BYTES];
    uint32_t number = number_of(tables, text, size);
    if (number != NO_NUMBER)
        return push(numbers, number);
    int has_all = tables->header.options & BYTE_FALLBACK && tables->sizes[BYTES];
    for (size_t i = 0; has_all && i < size; i++)
        has_all = bytes[text[i]] != NO_NUMBER;
    if (!has_all)
        return tables->header.unknown == NO_NUMBER ? REFUSED : push(numbers, tables->header.unknown);
    for (size_t i = 0; i < size; i++)
        if (push(numbers, bytes[text[i]]) != DONE)
            return NO_MEMORY;
    return DONE;
}

static Result viterbi(const Tables *tables, const uint8_t *word, size_t size, Best *best) {
    const double *scores = (const void *)tables->bytes[SCORES];
    size_t score_count = tables->sizes[SCORES] / sizeof *scores, longest = tables->header.longest_piece;
    for (size_t at = 0, step; at < size; at += step) {
        double here = best[at].score;
        int has_single = 0;
        uint32_t crc = UINT32_MAX;
        step = length_of(word[at]);
        if (step > size - at)
            return REFUSED;
        for (size_t n = 0; n < longest && n < size - at;) {
            crc = crc_more(crc, word[at + n]);
            n++;
            if (at + n < size && (word[at + n] & 0xC0) == 0x80)
                continue; /* in the middle of a character */
            uint32_t number = find(tables, PIECES, crc, word + at, n);
            if (number == NO_NUMBER)
                continue;
            if (number >= score_count)
                return REFUSED;
            double score = scores[number] + here;
            has_single |= n == step;
            Best *end = &best[at + n];
            if (end->start == NO_NUMBER || score > end->score)
                *end = (Best){score, (uint32_t)at, number};
        }
        if (!has_single) {
            Best *end = &best[at + step];
            double score = tables->header.unknown_score + here;
            if (end->start == NO_NUMBER || score > end->score) {
                if (tables->header.unknown == NO_NUMBER)
                    return REFUSED;
                *end = (Best){score, (uint32_t)at, tables->header.unknown};
            }
        }
    }
    return DONE;
}

static Result unigram(const Tables *tables, const uint8_t *word, size_t size, Numbers *numbers) {
    enum { SHORT = 64 };
    Best few[SHORT + 1], *best = few;
    if (size > SHORT && !(best = malloc((size + 1) * sizeof *best)))
        return NO_MEMORY;
    for (size_t i = 0; i <= size; i++)
        best[i] = (Best){0.0, NO_NUMBER, 0};
    Result result = viterbi(tables, word, size, best);
    /* Turn the links around, so that the path can be followed from its start. */
    size_t end = size, next = size;
    while (result == DONE && end > 0) {
        Best one = best[end];
        if (one.start >= end) {
            result = REFUSED;
            break;
        }
        best[end].start = (uint32_t)next;
        next = end;
        end = one.start;
    }
    for (size_t at = 0; result == DONE && at < size;) {
        /* From a token's end, the start of the next is where it ends. */
        size_t stop = next, first = at;
        uint32_t unknown = tables->header.unknown;
        if (best[stop].number != unknown || unknown == NO_NUMBER) {
            result = push(numbers, best[stop].number);
            next = best[stop].start;
            at = stop;
            continue;
        }
        while (best[stop].number == unknown && best[stop].start > stop && best[best[stop].start].number == unknown)
            stop = best[stop].start; /* unknown characters in a row */
        result = push_unknown(tables, word + first, stop - first, numbers);
        next = best[stop].start;
        at = stop;
    }
    if (best != few)
        free(best);
    return result;
}

/* Byte pair encoding (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909). The pair with the lowest rank is merged
 * first, of equal ones the first in the word. */
typedef struct {
    uint32_t number, length;
    int32_t before, after;
} Symbol;

typedef struct {
    uint32_t rank, place, made;
} Pending;

static int comes_before(const Pending *one, const Pending *other) {
    return one->rank != other->rank ? one->rank < other->rank : one->place < other->place;
}

static void sift_up(Pending *heap, size_t at) {
    Pending one = heap[at];
    for (size_t parent; at && comes_before(&one, &heap[parent = (at - 1) / 2]); at = parent)
        heap[at] = heap[parent];
    heap[at] = one;
}

static void sift_down(Pending *heap, size_t count) {
    Pending one = heap[0];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && comes_before(&heap[child + 1], &heap[child]))
            child++;
        if (!comes_before(&heap[child], &one))
            break;
        heap[at] = heap[child];
    }
    heap[at] = one;
}

static void add_pending(const Tables *tables, const Symbol *symbols, int32_t left, Pending *heap, size_t *count) {
    if (left < 0 || symbols[left].after < 0)
        return;
    const Merge *merge = find_merge(tables, symbols[left].number, symbols[symbols[left].after].number);
    if (!merge)
        return;
    heap[*count] = (Pending){merge->rank, (uint32_t)left, merge->made};
    sift_up(heap, (*count)++);
}

static void merge_all(const Tables *tables, Symbol *symbols, size_t count, Pending *heap) {
    size_t pending = 0;
    for (size_t i = 0; i + 1 < count; i++)
        add_pending(tables, symbols, (int32_t)i, heap, &pending);
    while (pending) {
        Pending top = heap[0];
        heap[0] = heap[--pending];
        if (pending)
            sift_down(heap, pending);
        Symbol *left = &symbols[top.place];
        if (!left->length || left->after < 0)
            continue;
        Symbol *right = &symbols[left->after];
        const Merge *merge = find_merge(tables, left->number, right->number);
        if (!merge || merge->made != top.made)
            continue; /* one of the two has been merged with another meanwhile */
        left->number = top.made;
        left->length += right->length;
        left->after = right->after;
        right->length = 0;
        if (left->after >= 0)
            symbols[left->after].before = (int32_t)top.place;
        add_pending(tables, symbols, left->before, heap, &pending);
        add_pending(tables, symbols, (int32_t)top.place, heap, &pending);
    }
}

static void add_symbol(Symbol *symbols, size_t *count, uint32_t number, size_t length) {
    int32_t at = (int32_t)*count;
    if (at)
        symbols[at - 1].after = at;
    symbols[at] = (Symbol){number, (uint32_t)length, at - 1, -1};
    ++*count;
}

/* The word's characters or bytes as symbols. */
static size_t first_symbols(const Tables *tables, const uint8_t *word, size_t size, Symbol *symbols) {
    const uint32_t *bytes = (const void *)tables->bytes[BYTES];
    unsigned options = tables->header.options;
    uint32_t unknown = tables->header.unknown;
    size_t count = 0, pending = 0; /* pending: the length of an unknown token that has not been added yet */
    for (size_t at = 0, step; at < size; at += step) {
        step = options & BYTE_LEVEL ? 1 : length_of(word[at]);
        step = step > size - at ? size - at : step;
        uint32_t number = options & BYTE_LEVEL ? bytes[word[at]] : number_of(tables, word + at, step);
        if (number != NO_NUMBER) {
            if (pending)
                add_symbol(symbols, &count, unknown, pending);
            pending = 0;
            add_symbol(symbols, &count, number, step);
            continue;
        }
        int has_all = options & BYTE_FALLBACK && tables->sizes[BYTES];
        for (size_t i = 0; has_all && i < step; i++)
            has_all = bytes[word[at + i]] != NO_NUMBER;
        if (has_all) {
            for (size_t i = 0; i < step; i++)
                add_symbol(symbols, &count, bytes[word[at + i]], 1);
        } else if (unknown != NO_NUMBER) {
            if (pending && !(options & FUSE_UNKNOWN)) {
                add_symbol(symbols, &count, unknown, pending);
                pending = 0;
            }
            pending += step;
        }
    }
    if (pending)
        add_symbol(symbols, &count, unknown, pending);
    return count;
}

static Result bpe(const Tables *tables, const uint8_t *word, size_t size, Numbers *numbers) {
    enum { SHORT = 48 };
    Symbol few[SHORT], *symbols = few;
    Pending few_pending[3 * SHORT], *heap = few_pending;
    if (tables->header.options & IGNORE_MERGES) {
        uint32_t number = number_of(tables, word, size);
        if (number != NO_NUMBER)
            return push(numbers, number);
    }
    if (size > INT32_MAX / 4 || (tables->header.options & BYTE_LEVEL && !tables->sizes[BYTES]))
        return REFUSED;
    if (size > SHORT) {
        symbols = malloc(size * sizeof *symbols);
        heap = malloc(3 * size * sizeof *heap); /* every merge removes a pair and adds two */
    }
    Result result = symbols && heap ? DONE : NO_MEMORY;
    if (result == DONE) {
        size_t count = first_symbols(tables, word, size, symbols);
        merge_all(tables, symbols, count, heap);
        for (size_t i = 0; i < count && result == DONE; i++)
            if (symbols[i].length)
                result = push(numbers, symbols[i].number);
    }
    if (size > SHORT) {
        free(symbols);
        free(heap);
    }
    return result;
}

/* The longest pieces from left to right (Wu et al. 2016, https://arxiv.org/abs/1609.08144). */
static Result wordpiece(const Tables *tables, const uint8_t *word, size_t size, Numbers *numbers) {
    size_t longest = tables->header.longest_piece, characters = 0, before = numbers->count;
    uint32_t unknown = tables->header.unknown;
    for (size_t i = 0; i < size; i++)
        characters += (word[i] & 0xC0) != 0x80;
    if (unknown == NO_NUMBER)
        return REFUSED;
    if (characters > tables->header.longest_word)
        return push(numbers, unknown);
    uint8_t piece[2 + 512];
    if (longest > 512)
        return REFUSED;
    for (size_t start = 0; start < size;) {
        size_t ahead = start ? 2 : 0, most = size - start < longest ? size - start : longest, taken = 0;
        uint32_t crc = UINT32_MAX, number = NO_NUMBER;
        memcpy(piece, "##", 2);
        memcpy(piece + 2, word + start, most);
        const uint8_t *key = piece + 2 - ahead;
        for (size_t i = 0; i < ahead; i++)
            crc = crc_more(crc, key[i]);
        for (size_t n = 0; n < most;) {
            crc = crc_more(crc, key[ahead + n]);
            n++;
            if (start + n < size && (word[start + n] & 0xC0) == 0x80)
                continue;
            uint32_t found = find(tables, PIECES, crc, key, ahead + n);
            if (found != NO_NUMBER) {
                number = found;
                taken = n;
            }
        }
        if (number == NO_NUMBER) {
            numbers->count = before;
            return push(numbers, unknown);
        }
        if (push(numbers, number) != DONE)
            return NO_MEMORY;
        start += taken;
    }
    return DONE;
}

static Result split_word(const Tables *tables, const uint8_t *word, size_t size, Numbers *numbers) {
    if (!size)
        return DONE;
    if (size > UINT32_MAX / 2)
        return REFUSED;
    switch (tables->header.model) {
    case UNIGRAM:
        return unigram(tables, word, size, numbers);
    case BPE:
        return bpe(tables, word, size, numbers);
    default:
        return wordpiece(tables, word, size, numbers);
    }
}

/* ---- Splitters: from a text to words ---- */

static Result split_bert(const Tables *tables, const uint8_t *text, size_t size, Numbers *numbers) {
    Result result = DONE;
    size_t start = 0, at = 0, length;
    for (; at < size && result == DONE; at += length) {
        unsigned class = class_of(tables, code_at(text, size, at, &length));
        if (!(class & (BLANK | PUNCTUATION)))
            continue;
        result = split_word(tables, text + start, at - start, numbers);
        if (result == DONE && class & PUNCTUATION && !(class & BLANK))
            result = split_word(tables, text + at, length, numbers);
        start = at + length;
    }
    return result == DONE ? split_word(tables, text + start, size - start, numbers) : result;
}

/* One run of characters without blanks, or a whole text: blanks become marks, and words may begin at each. */
static Result split_marked(const Tables *tables, const uint8_t *text, size_t size, int is_first, Numbers *numbers) {
    unsigned options = tables->header.options;
    Text marked = {NULL, 0, 0};
    int has_mark = size && (text[0] == ' ' || (size >= MARK_SIZE && !memcmp(text, METASPACE_MARK, MARK_SIZE)));
    Result result = DONE;
    if (!size)
        return DONE;
    if (!has_mark && (options & PREPEND_ALWAYS || (options & PREPEND_FIRST && is_first)))
        result = append(&marked, METASPACE_MARK, MARK_SIZE);
    for (size_t at = 0, end; at < size && result == DONE; at = end) {
        const uint8_t *blank = memchr(text + at, ' ', size - at);
        end = blank ? (size_t)(blank - text) : size;
        result = append(&marked, text + at, end - at);
        if (blank && result == DONE) {
            result = append(&marked, METASPACE_MARK, MARK_SIZE);
            end++;
        }
    }
    size_t start = 0;
    for (size_t at = 1; options & CUT && at + MARK_SIZE <= marked.size && result == DONE; at++)
        if (!memcmp(marked.bytes + at, METASPACE_MARK, MARK_SIZE)) {
            result = split_word(tables, marked.bytes + start, at - start, numbers);
            start = at;
        }
    if (result == DONE)
        result = split_word(tables, marked.bytes + start, marked.size - start, numbers);
    free(marked.bytes);
    return result;
}

static Result split_metaspace(const Tables *tables, const uint8_t *text, size_t size, int is_first, Numbers *numbers) {
    if (!(tables->header.options & AT_BLANKS))
        return split_marked(tables, text, size, is_first, numbers);
    Result result = DONE;
    size_t start = 0, at = 0, length;
    for (; at < size && result == DONE; at += length)
        if (class_of(tables, code_at(text, size, at, &length)) & BLANK) {
            result = split_marked(tables, text + start, at - start, is_first && !start, numbers);
            start = at + length;
        }
    return result == DONE ? split_marked(tables, text + start, size - start, is_first && !start, numbers) : result;
}

/* A text with the class of the character at a place, for the patterns. */
typedef struct {
    const Tables *tables;
    const uint8_t *text;
    size_t size;
} Cursor;

/* The class at a place, 0 and length 0 at the end. */
static unsigned class_at(const Cursor *cursor, size_t at, size_t *length) {
    *length = 0;
    return at < cursor->size ? class_of(cursor->tables, code_at(cursor->text, cursor->size, at, length)) : 0;
}

/* The end of a run of characters that are of one of some classes, or of none of them. */
static size_t skip(const Cursor *cursor, size_t at, unsigned classes, int wanted, size_t most) {
    size_t length;
    for (; at < cursor->size && most; at += length, most--)
        if (!!(class_at(cursor, at, &length) & classes) != wanted)
            break;
    return at;
}

static int is_letter(uint8_t byte, char letter, int any_case) {
    return byte == (uint8_t)letter || (any_case && byte == (uint8_t)(letter - 32));
}

/* 's, 't, 're, 've, 'm, 'll or 'd at a place: its end, or the place itself. */
static size_t contraction(const Cursor *cursor, size_t at, int any_case) {
    static const char *const endings[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    const uint8_t *text = cursor->text;
    if (at >= cursor->size || text[at] != '\'')
        return at;
    size_t left = cursor->size - at - 1;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const char *ending = endings[i];
        if (any_case && *ending == 's' && left >= 2 && text[at + 1] == 0xC5 && text[at + 2] == 0xBF)
            return at + 3; /* U+017F, the long s, is an s in another case */
        if (left >= 1 && is_letter(text[at + 1], ending[0], any_case) &&
            (!ending[1] || (left >= 2 && is_letter(text[at + 2], ending[1], any_case))))
            return at + (ending[1] ? 3 : 2);
    }
    return at;
}

static const unsigned ANY = LETTER | DIGIT | BLANK_IN_PATTERN;

/* \s+(?!\S)|\s+ at a place where a blank is: all blanks, but the last one if something follows. */
static size_t blanks(const Cursor *cursor, size_t at) {
    size_t end = skip(cursor, at, BLANK_IN_PATTERN, 1, SIZE_MAX), last = at, length;
    if (end == cursor->size)
        return end;
    for (size_t next = at; next < end; next += length) {
        last = next;
        class_at(cursor, next, &length);
    }
    return last > at ? last : end;
}

/* The pattern of GPT-2 (Radford et al. 2019):
 * 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t next_gpt2(const Cursor *cursor, size_t at) {
    size_t end = contraction(cursor, at, 0), length;
    if (end > at)
        return end;
    size_t start = at + (cursor->text[at] == ' ');
    unsigned class = class_at(cursor, start, &length);
    if (length) {
        if (class & LETTER)
            return skip(cursor, start, LETTER, 1, SIZE_MAX);
        if (class & DIGIT)
            return skip(cursor, start, DIGIT, 1, SIZE_MAX);
        if (!(class & BLANK_IN_PATTERN))
            return skip(cursor, start, ANY, 0, SIZE_MAX);
    }
    return blanks(cursor, at);
}

/* The pattern of cl100k (https://github.com/openai/tiktoken), with 3 digits or, of Qwen, one:
 * (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t next_cl100k(const Cursor *cursor, size_t at) {
    size_t end = contraction(cursor, at, 1), length, next_length;
    if (end > at)
        return end;
    const uint8_t *text = cursor->text;
    unsigned class = class_at(cursor, at, &length);
    if (class & LETTER)
        return skip(cursor, at, LETTER, 1, SIZE_MAX);
    if (!(class & DIGIT) && text[at] != '\r' && text[at] != '\n' && class_at(cursor, at + length, &next_length) & LETTER)
        return skip(cursor, at + length, LETTER, 1, SIZE_MAX);
    if (class & DIGIT)
        return skip(cursor, at, DIGIT, 1, cursor->tables->header.most_digits);
    size_t start = at + (text[at] == ' ');
    unsigned after = class_at(cursor, start, &next_length);
    if (next_length && !(after & ANY)) {
        end = skip(cursor, start, ANY, 0, SIZE_MAX);
        while (end < cursor->size && (text[end] == '\r' || text[end] == '\n'))
            end++;
        return end;
    }
    /* \s*[\r\n]+: up to the last line end among the blanks. */
    end = skip(cursor, at, BLANK_IN_PATTERN, 1, SIZE_MAX);
    for (size_t last = end; last > at; last--)
        if (text[last - 1] == '\r' || text[last - 1] == '\n')
            return last;
    return blanks(cursor, at);
}

static Result split_pattern(const Tables *tables, const uint8_t *text, size_t size, Numbers *numbers) {
    Text prefixed = {NULL, 0, 0};
    Result result = DONE;
    if (size && tables->header.options & PREFIX_SPACE && text[0] != ' ') {
        result = append(&prefixed, (const uint8_t *)" ", 1);
        if (result == DONE)
            result = append(&prefixed, text, size);
        text = prefixed.bytes;
        size++;
    }
    Cursor cursor = {tables, text, size};
    for (size_t at = 0, end; at < size && result == DONE; at = end) {
        end = tables->header.splitter == GPT2 ? next_gpt2(&cursor, at) : next_cl100k(&cursor, at);
        result = end > at ? split_word(tables, text + at, end - at, numbers) : REFUSED;
    }
    free(prefixed.bytes);
    return result;
}

Result split_text(const Tables *tables, const uint8_t *text, size_t size, int is_first, Numbers *numbers) {
    switch (tables->header.splitter) {
    case WHOLE:
        return split_word(tables, text, size, numbers);
    case BERT:
        return split_bert(tables, text, size, numbers);
    case METASPACE:
        return split_metaspace(tables, text, size, is_first, numbers);
    default:
        return split_pattern(tables, text, size, numbers);
    }
}
