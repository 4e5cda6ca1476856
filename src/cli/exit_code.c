#include "cli/command.h"

int km_exit_code(enum km_status status)
{
    switch (status) {
    case KM_OK:
        return 0;
    case KM_NO:
        return 1;
    case KM_INTERRUPTED:
        return 130;
    case KM_FAILED:
        return 3;
    case KM_BAD_INPUT:
    case KM_IO:
        break;
    }
    return 2;
}
