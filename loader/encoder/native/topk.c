#include "topk.h"

/* Rows whose products are computed before they are looked at. */
enum { ROWS_AT_ONCE = 256 };

static int is_worse(Hit a, Hit b) { return a.score < b.score || (a.score == b.score && a.index > b.index); }

/* Restores the heap, whose root is the worst hit, after one of its nodes has become better. */
static void sink(Hit *heap, size_t count, size_t node) {
    for (;;) {
        size_t worst = node;
        for (size_t child = 2 * node + 1; child <= 2 * node + 2 && child < count; child++)
            if (is_worse(heap[child], heap[worst]))
                worst = child;
        if (worst == node)
            return;
        Hit hit = heap[node];
        heap[node] = heap[worst];
        heap[worst] = hit;
        node = worst;
    }
}

static void rise(Hit *heap, size_t node) {
    while (node && is_worse(heap[node], heap[(node - 1) / 2])) {
        Hit hit = heap[node];
        heap[node] = heap[(node - 1) / 2];
        heap[(node - 1) / 2] = hit;
        node = (node - 1) / 2;
    }
}

size_t top_k(const Lanes *lanes, const float *query, const char *rows, size_t count, size_t width, size_t k, Hit *hits) {
    float products[ROWS_AT_ONCE];
    size_t found = 0;
    for (size_t first = 0; k && first < count; first += ROWS_AT_ONCE) {
        size_t there = count - first < ROWS_AT_ONCE ? count - first : ROWS_AT_ONCE;
        lanes->dot_rows(query, rows + first * width * sizeof(float), there, width, products);
        for (size_t i = 0; i < there; i++) {
            Hit hit = {products[i], first + i};
            if (hit.score != hit.score)
                continue;
            if (found < k) {
                hits[found] = hit;
                rise(hits, found++);
            } else if (is_worse(hits[0], hit)) {
                hits[0] = hit;
                sink(hits, k, 0);
            }
        }
    }
    for (size_t end = found; end > 1; end--) { /* the worst goes behind the others, again and again */
        Hit hit = hits[0];
        hits[0] = hits[end - 1];
        hits[end - 1] = hit;
        sink(hits, end - 1, 0);
    }
    return found;
}
