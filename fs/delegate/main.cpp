// The program of a delegate, apart from `atoll`: nothing that opens content is linked into it (tests/delegate).
#include "fs/delegate/service.h"

int main(int count, char** words) { return atl::run_delegate(count, words); }
