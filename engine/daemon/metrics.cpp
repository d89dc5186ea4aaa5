#include "engine/daemon/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "engine/daemon/server.h"

namespace atl {

struct RequestMetrics::State {
  prometheus::Registry registry;
  prometheus::Family<prometheus::Counter>& requests =
      prometheus::BuildCounter().Name("atoll_node_requests_total").Help("Requests by kind and status").Register(registry);
  prometheus::Family<prometheus::Histogram>& seconds = prometheus::BuildHistogram()
                                                           .Name("atoll_node_request_seconds")
                                                           .Help("Time from a request's last header to the end of its answer")
                                                           .Register(registry);
};

namespace {

const prometheus::Histogram::BucketBoundaries boundaries{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30};

class Families {
 public:
  explicit Families(std::string node) : node_(std::move(node)) {}

  void add(const std::string& name, const std::string& help, prometheus::MetricType type, std::uint64_t value,
           const std::string& label = {}, const std::string& label_value = {}) {
    if (list_.empty() || list_.back().name != name) list_.push_back({name, help, type, {}});
    prometheus::ClientMetric metric;
    metric.label.push_back({"node", node_});
    if (!label.empty()) metric.label.push_back({label, label_value});
    (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = static_cast<double>(value);
    list_.back().metric.push_back(std::move(metric));
  }
  void count(const std::string& name, const std::string& help, std::uint64_t value) {
    add(name, help, prometheus::MetricType::Counter, value);
  }
  void gauge(const std::string& name, const std::string& help, std::uint64_t value) {
    add(name, help, prometheus::MetricType::Gauge, value);
  }
  std::vector<prometheus::MetricFamily> take() { return std::move(list_); }

 private:
  const std::string node_;
  std::vector<prometheus::MetricFamily> list_;
};

}  // namespace

RequestMetrics::RequestMetrics() : state_(std::make_unique<State>()) {}
RequestMetrics::~RequestMetrics() = default;

void RequestMetrics::answered(std::string_view kind, unsigned status, Duration took) {
  state_->requests.Add({{"kind", std::string(kind)}, {"status", std::to_string(status)}}).Increment();
  state_->seconds.Add({{"kind", std::string(kind)}}, boundaries).Observe(std::chrono::duration<double>(took).count());
}

std::string RequestMetrics::text(ObjectStore& store, const ServerCounters& server, const std::string& node) const {
  Families all(node.substr(0, 16));
  const StoreUsage usage = store.usage();
  all.gauge("atoll_node_capacity_bytes", "What the node offers in all", usage.capacity_bytes);
  all.gauge("atoll_node_used_bytes", "Objects, trash and reservations", usage.used_bytes);
  all.gauge("atoll_node_free_bytes", "What it can still take", usage.free_bytes);
  all.gauge("atoll_node_trouble", "1 while the store takes nothing", store.trouble().empty() ? 0 : 1);
  const StoreCounters& stored = store.counters();
  all.count("atoll_node_puts_total", "Objects made durable", stored.puts);
  all.count("atoll_node_puts_repeated_total", "Of what was there already", stored.puts_repeated);
  all.count("atoll_node_puts_refused_total", "For quota, capacity, conflict or a wrong hash", stored.puts_refused);
  all.count("atoll_node_puts_failed_total", "By the disk", stored.puts_failed);
  all.count("atoll_node_reads_total", "Reads of objects", stored.reads);
  all.count("atoll_node_read_bytes_total", "Read from the disk for tenants", stored.read_bytes);
  all.count("atoll_node_written_bytes_total", "Written to the disk for tenants", stored.written_bytes);
  all.count("atoll_node_removed_total", "Objects moved to the trash", stored.removed);
  all.count("atoll_node_swept_total", "Objects that left the trash for good", stored.swept);
  all.count("atoll_node_rotten_total", "Objects found rotten or gone", stored.rotten);
  all.count("atoll_node_scrubbed_objects_total", "Objects that a scrub verified", stored.scrubbed_objects);
  all.count("atoll_node_scrubbed_bytes_total", "Bytes that a scrub read", stored.scrubbed_bytes);
  all.count("atoll_node_scrub_rounds_total", "Whole passes of the scrub", stored.scrub_rounds);
  all.count("atoll_node_catalogue_flushes_total", "Flushes of the catalogue", stored.flushes);
  all.count("atoll_node_catalogue_failures_total", "Failed flushes of the catalogue", stored.catalogue_failures);
  all.gauge("atoll_node_strangers", "Connections that have proven no key", server.strangers);
  all.gauge("atoll_node_connections", "Connections of tenants", server.connections);
  all.gauge("atoll_node_requests_running", "Requests being served", server.serving);
  all.gauge("atoll_node_requests_waiting", "Requests that wait for their tenant's turn", server.waiting);
  all.count("atoll_node_accepted_total", "Connections accepted", server.accepted);
  all.count("atoll_node_handshakes_total", "Handshakes that succeeded", server.handshakes);
  all.count("atoll_node_handshakes_refused_total", "Unknown keys, broken TLS, deadlines", server.handshakes_refused);
  all.count("atoll_node_displaced_total", "Connections closed for want of room", server.displaced);
  all.count("atoll_node_timed_out_total", "Connections closed for being too slow", server.timed_out);
  all.count("atoll_node_received_bytes_total", "Bodies received", server.received_bytes);
  all.count("atoll_node_sent_bytes_total", "Bodies sent", server.sent_bytes);
  auto families = all.take();
  if (const auto accounts = store.accounts()) {
    Families tenants(node.substr(0, 16));
    const auto gauge = prometheus::MetricType::Gauge;
    for (const AccountUsage& account : *accounts)
      tenants.add("atoll_node_tenant_used_bytes", "Objects of one account", gauge, account.used_bytes, "account", account.id.hex().substr(0, 16));
    for (const AccountUsage& account : *accounts)
      tenants.add("atoll_node_tenant_quota_bytes", "What one account may store", gauge, account.quota_bytes, "account", account.id.hex().substr(0, 16));
    for (const AccountUsage& account : *accounts)
      tenants.add("atoll_node_tenant_objects", "Objects of one account", gauge, account.objects, "account", account.id.hex().substr(0, 16));
    for (auto& family : tenants.take()) families.push_back(std::move(family));
  }
  for (auto& family : state_->registry.Collect()) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace atl
