/* The k largest of many numbers. */
#ifndef TOPK_H
#define TOPK_H

#include "encoder.h"

typedef struct {
    float score;
    size_t index;
} Hit;

/* Finds the rows with the largest dot products with the query, the best first; of equal ones the first. Rows whose product
 * is not a number are never found. Returns how many it found, at most k. hits has room for k. */
size_t top_k(const Lanes *lanes, const float *query, const char *rows, size_t count, size_t width, size_t k, Hit *hits);

#endif
