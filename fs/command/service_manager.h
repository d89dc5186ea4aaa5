// Tells the service manager that started this process how it is: sd_notify's protocol, a datagram to $NOTIFY_SOCKET, which
// systemd promises to keep (sd_notify(3)). Does nothing where nobody asked. Any thread.
#pragma once

#include <string_view>

namespace atl {

/// "READY=1", "STOPPING=1", "STATUS=...". What cannot be delivered is lost: nobody listens.
void tell_service_manager(std::string_view state);

}  // namespace atl
