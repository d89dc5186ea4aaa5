// What libfuse 3.14 does not hand on of the kernel's requests, and what it cannot answer to INIT.
//
// The kernel asks for the attribute security.capability before each write(2), unless the file system says that it takes
// set-id bits away by itself where the kernel tells it to (FUSE_HANDLE_KILLPRIV_V2): then it asks once and remembers.
// That is a round trip less for each write. libfuse knows neither that flag of INIT nor those of the requests.
#pragma once

#include <sys/uio.h>

#include <cstddef>

namespace atl::raw_request {

/// From here on this thread works on the request in `bytes`, as it was received; they stay until the next call.
void received(const void* bytes, std::size_t count);

/// Where this thread's request is a WRITE or SETATTR: the file loses its set-id bits with it, since the caller may not
/// keep them.
bool drops_set_id();

/// Where this thread answers INIT, asks for what libfuse cannot ask for, if the kernel offers it. `answer` is what
/// libfuse is about to send; its pieces are changed in place.
void complete_init_answer(const iovec* answer, int pieces);

}  // namespace atl::raw_request
