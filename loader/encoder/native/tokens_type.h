/* loader._native.Tokens: the tables of tokens.h as a Python class. */
#ifndef TOKENS_TYPE_H
#define TOKENS_TYPE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

extern PyType_Spec tokens_spec;

#endif
