/* <complex.h>, with CMPLX everywhere: the C library has that macro of C11 (7.3.9.3) only for compilers that
 * call themselves gcc 4.7 or newer, which clang does not. */
#ifndef KM_BASE_COMPLEX_H
#define KM_BASE_COMPLEX_H

#include <complex.h>

#ifndef CMPLX
#define CMPLX(re, im) __builtin_complex((double)(re), (double)(im))
#endif

#endif
