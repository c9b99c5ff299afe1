/* loader._native.Places: where each string of a JSON text is, so that the last one that is equal to some text can be found
 * without searching. */
#ifndef PLACES_H
#define PLACES_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Adds the class to the module. Returns 0, or -1 with an exception set. */
int add_places_type(PyObject *module);

#endif
