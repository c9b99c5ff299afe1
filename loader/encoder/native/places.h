/* loader._native.Places: where each string of a JSON text is, so that the last one that is equal to some text can be found
 * without searching. */
#ifndef PLACES_H
#define PLACES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyType_Spec places_spec;

#endif
