/* Sums of many 64-bit counts: exact whatever their number. */
#ifndef KM_BASE_WIDE_H
#define KM_BASE_WIDE_H

__extension__ typedef unsigned __int128 km_u128;

#endif
