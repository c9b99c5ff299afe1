/* loader._native.Tokens: the tables of tokens.h as a Python class. */
#ifndef TOKENS_TYPE_H
#define TOKENS_TYPE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Adds the class to the module. Returns 0, or -1 with an exception set. */
int add_tokens_type(PyObject *module);

#endif
