#include "cache/drive/meta_mirror.h"

#include <algorithm>

#include "engine/ship_interval.h"

namespace atl {
namespace {

constexpr Duration retry_after = std::chrono::seconds(2);
/// What a node holds is asked again so often, though it was never away: this computer may have slept.
constexpr Duration survey_interval = std::chrono::minutes(5);
/// A node that forgot what it had taken is told of for so long.
constexpr Duration went_back_for = std::chrono::minutes(10);
/// A node that is absent for so long since the start is away, and not merely looked for.
constexpr Duration finding_max = std::chrono::seconds(15);
constexpr std::size_t page = 1000;
/// Names asked of one node for one prefix: a node that tells of more is not believed.
constexpr std::size_t names_max = 1'000'000;
constexpr std::size_t removals_max = 256;
constexpr std::size_t shown_max = 1024;
constexpr std::size_t recent_max = 4096;

}  // namespace

struct MetaMirror::State {
  struct View {
    bool surveyed = false;  // what it holds is known for certain
    bool asked = false;     // it has said in this run what it holds, and was not absent since; it may refuse what is put
    bool busy = false;
    bool claim_checked = false;  // for the head that it is to get next
    MonotonicTime not_before{};
    MonotonicTime surveyed_at{};
    std::size_t shown = 0;  // names that it told of and that were judged
    std::set<std::string> names;
    Duration interval{};     // of its kind, between batches
    bool in_batch = false;   // it gets what it lacks now; until it holds the head
    MetaName holds;          // the newest head of `recent` that it has
    bool behind = false;  // it told of an older head only
    MetaName taken;       // the newest head that it took from here
    std::optional<MonotonicTime> went_back;
    // How what it is to hold is called, in the order of `wanted`, and what it is to hold no more, in that of `retired`: names
    // cost a hash or two each, and are asked for at every step.
    std::vector<std::string> wanted;
    std::vector<std::string> retired;
    std::size_t held = 0;  // so many of the first of `wanted` are among `names`
  };

  std::mutex mutex;
  bool stopped = false;
  std::function<void()> poke;
  std::vector<MetaName> wanted;
  std::vector<MetaName> retired;  // as take_retired() saw it last
  MetaName head;
  std::map<NodeId, View> views;
  std::vector<Foreign> foreign;
  std::size_t judging = 0;         // taken from these, and not judged yet
  std::vector<Foreign> ancestors;  // as many as names were shown
  MonotonicTime begun{};
  std::set<std::pair<MetaName, NodeId>> shown;  // a node that lies must not hide what another one tells
  std::uint32_t epoch = 0;
  std::uint64_t generation_seen = 0;
  std::uint64_t requests = 0;
  std::map<Duration, MonotonicTime> batches;  // when the last one of a kind was opened
  std::set<MetaName> recent;  // heads that were wanted, from the oldest that tells how far a node is
  MetaName counted;
  MetaName forks_from;  // none: nobody is watched for
  bool keep_all = false;
  bool held = false;

  /// What a node says that it holds, against what it should. With the mutex held.
  void compare_heads(const std::vector<std::string>& names, const NodeId& node, const MetaSealer& sealer, MonotonicTime now) {
    View& view = views[node];
    MetaName newest;
    for (const std::string& text : names)
      if (const auto name = sealer.parse_head(text, node); name && *name > newest) newest = *name;
    view.behind = newest.generation != 0 && newest < counted && view.interval == Duration::zero();  // one that likes batches is
    view.holds = MetaName{};
    for (const std::string& text : names)
      if (const auto name = sealer.parse_head(text, node); name && recent.contains(*name)) view.holds = std::max(view.holds, *name);
    if (newest < view.taken) {
      view.went_back = now;
      view.taken = newest;
    }
  }
  void note_foreign(const MetaName& name, const NodeId& node) {
    // A node that makes names up is not listened to without end.
    if (views[node].shown < shown_max && shown.emplace(name, node).second) {
      ++views[node].shown;
      foreign.push_back({name, node});
    }
  }
  void note_ancestor(const MetaName& name, const NodeId& node) {
    if (views[node].shown < shown_max && shown.emplace(name, node).second) {
      ++views[node].shown;
      ancestors.push_back({name, node});
    }
  }
  /// With the mutex held.
  bool all_asked(const std::vector<NodeStatus>& nodes, MonotonicTime now) const {
    if (!foreign.empty() || judging > 0) return false;
    return std::all_of(nodes.begin(), nodes.end(), [&](const NodeStatus& node) {
      const auto view = views.find(node.spec.id);
      if (node.state == NodeState::absent) return now - begun >= finding_max;
      return view != views.end() && view->second.asked;
    });
  }
  /// With the mutex held.
  void note_claims(const std::vector<std::string>& names, const NodeId& node, const MetaSealer& sealer) {
    for (const std::string& text : names)
      if (const auto name = sealer.parse_claim(text, node); name && name->epoch >= epoch) note_foreign(*name, node);
  }
  const std::vector<std::string>& wanted_names(View& view, const NodeId& node, const MetaSealer& sealer) const {
    if (view.wanted.size() != wanted.size()) {
      view.wanted.clear();
      view.held = 0;
      for (const MetaName& name : wanted) view.wanted.push_back(sealer.object_name(name, node));
    }
    return view.wanted;
  }
  /// What is retired now. With the mutex held.
  void take_retired(std::vector<MetaName> now) {
    if (now == retired) return;
    retired = std::move(now);
    for (auto& [node, view] : views) view.retired.clear();
  }
  const std::vector<std::string>& retired_names(View& view, const NodeId& node, const MetaSealer& sealer) const {
    if (view.retired.size() != retired.size()) {
      view.retired.clear();
      for (const MetaName& name : retired) view.retired.push_back(sealer.object_name(name, node));
    }
    return view.retired;
  }
  /// Whether the node was seen to hold the head, which is the last of what it is to hold. With the mutex held.
  bool holds_head(View& view, const NodeId& node, const MetaSealer& sealer) const {
    return head.generation != 0 && view.names.contains(wanted_names(view, node, sealer).back());
  }
  /// Whether the node gets what it lacks at once. With the mutex held.
  static bool open(const View& view) { return view.interval == Duration::zero() || view.in_batch; }
  /// Whether the interval of the node's kind is over. With the mutex held.
  bool rested(const View& view, MonotonicTime now) const {
    const auto last = batches.find(view.interval);
    return last == batches.end() || now - last->second >= view.interval;
  }
  /// The nodes whose batch is due. With the mutex held.
  std::vector<std::pair<NodeId, View*>> due_for_batch(const MetaSealer& sealer, MonotonicTime now) {
    std::vector<std::pair<NodeId, View*>> due;
    for (auto& [node, view] : views) {
      if (open(view) || !view.surveyed || head.generation == 0 || holds_head(view, node, sealer)) continue;
      if (rested(view, now)) due.emplace_back(node, &view);
    }
    return due;
  }
  /// The node did not say what it holds. With the mutex held.
  void not_surveyed(const NodeId& node, MonotonicTime now) {
    views[node].asked = false;
    settle(node, false, now);
  }
  /// Ends what the node was busy with. With the mutex held.
  void settle(const NodeId& node, bool well, MonotonicTime now) {
    View& view = views[node];
    view.busy = false;
    if (!well) {
      view.surveyed = false;  // what it holds is not known for certain any more
      view.not_before = now + retry_after;
    }
    if (!stopped) poke();
  }
};

MetaMirror::MetaMirror(DriveCore& core, HeadStore& store, std::shared_ptr<const MetaSealer> sealer, std::uint32_t epoch,
                       std::function<void()> poke)
    : core_(core), store_(store), sealer_(std::move(sealer)), state_(std::make_shared<State>()) {
  state_->epoch = epoch;
  state_->poke = std::move(poke);
  state_->begun = core_.seams.clock.now();
}

MetaMirror::~MetaMirror() { stop(); }

void MetaMirror::want(std::vector<MetaName> objects, MetaName head) {
  std::lock_guard lock(state_->mutex);
  state_->wanted = std::move(objects);
  state_->head = head;
  state_->recent.insert(head);
  for (auto& [node, view] : state_->views) {
    view.claim_checked = false;
    view.wanted.clear();
    view.held = 0;
  }
}

void MetaMirror::counted(MetaName head) {
  std::lock_guard lock(state_->mutex);
  state_->counted = head;
  // Nodes that wait for a batch are behind, and what they have tells how far.
  MetaName oldest = head;
  for (const auto& [node, view] : state_->views)
    if (view.surveyed && view.holds.generation != 0) oldest = std::min(oldest, view.holds);
  state_->recent.erase(state_->recent.begin(), state_->recent.lower_bound(oldest));
  while (state_->recent.size() > recent_max) state_->recent.erase(state_->recent.begin());
}

std::optional<MetaMirror::BatchDue> MetaMirror::batch_due() const {
  std::lock_guard lock(state_->mutex);
  const auto nodes = state_->due_for_batch(*sealer_, core_.seams.clock.now());
  if (nodes.empty()) return std::nullopt;
  BatchDue due;
  due.held = nodes.front().second->holds;
  for (const auto& [node, view] : nodes) {
    due.held = std::min(due.held, view->holds);
    const auto& texts = state_->wanted_names(*view, node, *sealer_);
    due.single = due.single && std::count_if(texts.begin(), texts.end(), [&, seen = view](const std::string& text) { return !seen->names.contains(text); }) <= 1;
  }
  return due;
}

void MetaMirror::open_batches() {
  std::lock_guard lock(state_->mutex);
  const MonotonicTime now = core_.seams.clock.now();
  for (const auto& [node, view] : state_->due_for_batch(*sealer_, now)) {
    view->in_batch = true;
    state_->batches[view->interval] = now;
  }
}

void MetaMirror::rush() {
  std::lock_guard lock(state_->mutex);
  state_->batches.clear();
}

void MetaMirror::watch_forks(MetaName from) {
  std::lock_guard lock(state_->mutex);
  state_->forks_from = from;
}

void MetaMirror::keep_everything() {
  std::lock_guard lock(state_->mutex);
  state_->keep_all = true;
}

void MetaMirror::hold(bool held) {
  std::lock_guard lock(state_->mutex);
  state_->held = held;
}

std::map<NodeId, std::string> MetaMirror::stale() const {
  const MonotonicTime now = core_.seams.clock.now();
  std::map<NodeId, std::string> found;
  std::lock_guard lock(state_->mutex);
  for (const auto& [node, view] : state_->views) {
    if (view.went_back && now - *view.went_back < went_back_for)
      found[node] = "it served an older state than it had taken: was its disk restored from a backup?";
    else if (view.behind)
      found[node] = "it serves an older state than the other nodes";
  }
  return found;
}

void MetaMirror::stop() {
  std::lock_guard lock(state_->mutex);
  state_->stopped = true;
}

MetaMirror::Count MetaMirror::count() const {
  Engine* engine = core_.engine.load();
  Count count;
  if (engine == nullptr) return count;
  const auto nodes = engine->nodes();
  const MonotonicTime now = core_.seams.clock.now();
  std::lock_guard lock(state_->mutex);
  state_->take_retired(store_.retired());
  count.nodes = nodes.size();
  for (const NodeStatus& node : nodes) {
    const auto view = state_->views.find(node.spec.id);
    if (node.state == NodeState::absent || view == state_->views.end() || !view->second.surveyed) continue;
    ++count.reachable;
    for (const std::string& text : state_->retired_names(view->second, node.spec.id, *sealer_)) count.litter += view->second.names.contains(text);
    count.heads.push_back(view->second.holds);
    const bool holds = state_->holds_head(view->second, node.spec.id, *sealer_);
    count.holders += holds;
    count.open += State::open(view->second) || state_->rested(view->second, now);
    count.lacking += State::open(view->second) && !holds;
  }
  std::sort(count.heads.rbegin(), count.heads.rend());
  return count;
}

std::optional<MetaMirror::Foreign> MetaMirror::take_foreign() {
  std::lock_guard lock(state_->mutex);
  if (state_->foreign.empty()) return std::nullopt;
  const auto claim = std::find_if(state_->foreign.begin(), state_->foreign.end(), [](const Foreign& f) { return f.name.kind == MetaKind::claim; });
  const auto next = claim != state_->foreign.end() ? claim : state_->foreign.begin();
  const Foreign first = *next;
  state_->foreign.erase(next);
  ++state_->judging;
  return first;
}

void MetaMirror::judged(const Foreign& foreign, bool seen) {
  std::lock_guard lock(state_->mutex);
  --state_->judging;
  if (seen) return;
  // Asked again; not without end, since a node may make names up.
  state_->shown.erase({foreign.name, foreign.node});
  if (const auto view = state_->views.find(foreign.node); view != state_->views.end()) {
    view->second.surveyed = view->second.asked = false;
    view->second.not_before = core_.seams.clock.now() + retry_after;
  }
}

std::optional<MetaMirror::Foreign> MetaMirror::take_ancestor() {
  std::lock_guard lock(state_->mutex);
  if (state_->ancestors.empty()) return std::nullopt;
  const Foreign last = state_->ancestors.back();
  state_->ancestors.pop_back();
  return last;
}

bool MetaMirror::all_asked() const {
  Engine* engine = core_.engine.load();
  if (engine == nullptr) return false;
  const auto nodes = engine->nodes();
  std::lock_guard lock(state_->mutex);
  return state_->all_asked(nodes, core_.seams.clock.now());
}

std::uint64_t MetaMirror::generation_seen() const {
  std::lock_guard lock(state_->mutex);
  return state_->generation_seen;
}

std::uint64_t MetaMirror::requests() const {
  std::lock_guard lock(state_->mutex);
  return state_->requests;
}

namespace {

/// All names under a prefix, page by page.
void list_all(Engine& engine, NodeId node, std::string prefix, std::vector<std::string> so_far,
              std::function<void(Result<std::vector<std::string>>)> done) {
  const std::string after = so_far.empty() ? std::string() : so_far.back();
  engine.list(node, prefix, after, page, [&engine, node, prefix, so_far = std::move(so_far), done](Result<std::vector<std::string>> names) mutable {
    if (!names) return done(fail(names.error()));
    const bool more = names->size() >= page;
    so_far.insert(so_far.end(), std::make_move_iterator(names->begin()), std::make_move_iterator(names->end()));
    if (!more) return done(std::move(so_far));
    if (so_far.size() > names_max) return done(fail(Code::failed, "a node tells of more names than it can hold"));
    list_all(engine, node, prefix, std::move(so_far), done);
  });
}

}  // namespace

void MetaMirror::step() {
  Engine* engine = core_.engine.load();
  if (engine == nullptr) return;
  const MonotonicTime now = core_.seams.clock.now();
  std::vector<std::function<void()>> actions;
  const auto* const kinds = dynamic_cast<const ShipIntervals*>(engine);
  const auto intervals = kinds != nullptr ? kinds->ship_intervals() : std::map<NodeId, Duration>();
  {
    std::lock_guard lock(state_->mutex);
    if (state_->stopped) return;
    state_->take_retired(store_.retired());
    const std::vector<NodeStatus> nodes = engine->nodes();
    // Of a node that was removed nothing is expected any more, not even that it forgets.
    std::erase_if(state_->views, [&](const auto& item) {
      return std::none_of(nodes.begin(), nodes.end(), [&](const NodeStatus& status) { return status.spec.id == item.first; });
    });
    for (const NodeStatus& status : nodes) {
      const NodeId node = status.spec.id;
      State::View& view = state_->views[node];
      const auto interval = intervals.find(node);
      view.interval = interval != intervals.end() ? interval->second : Duration::zero();
      if (status.state == NodeState::absent) {
        view.surveyed = view.asked = false;
        continue;
      }
      if (view.busy || now < view.not_before) continue;
      const auto state = state_;
      Clock& clock = core_.seams.clock;
      if (!view.surveyed || now - view.surveyed_at >= survey_interval) {
        view.busy = true;
        state_->requests += 3;
        const MetaName own = state_->head;
        const auto sealer = sealer_;
        actions.push_back([=, &clock] {
          list_all(*engine, node, sealer->claim_prefix(node), {}, [=, &clock](Result<std::vector<std::string>> claims) {
            {
              std::lock_guard answer_lock(state->mutex);
              if (state->stopped || !claims) return state->not_surveyed(node, clock.now());
              state->note_claims(*claims, node, *sealer);
            }
            list_all(*engine, node, sealer->head_prefix(node), {}, [=, &clock](Result<std::vector<std::string>> heads) {
              {
                std::lock_guard answer_lock(state->mutex);
                if (state->stopped || !heads) return state->not_surveyed(node, clock.now());
                for (const std::string& text : *heads) {
                  const auto name = sealer->parse_head(text, node);
                  if (!name) continue;
                  if (name->epoch == own.epoch) state->generation_seen = std::max(state->generation_seen, name->generation);
                  // One of the same name that this computer has not put there may be another's.
                  if (*name > own || (*name == own && !state->views[node].names.contains(text))) state->note_foreign(*name, node);
                  // An earlier owner went on where this computer had not looked.
                  if (name->epoch < state->epoch && state->forks_from.generation != 0 && *name > state->forks_from) state->note_foreign(*name, node);
                  if (name->epoch == state->forks_from.epoch && *name < state->forks_from) state->note_ancestor(*name, node);
                }
                state->compare_heads(*heads, node, *sealer, clock.now());
              }
              list_all(*engine, node, sealer->part_prefix(node), {}, [=, &clock](Result<std::vector<std::string>> parts) {
                std::lock_guard answer_lock(state->mutex);
                if (!parts || state->stopped) return state->not_surveyed(node, clock.now());
                State::View& seen = state->views[node];
                seen.names.clear();
                seen.held = 0;
                seen.names.insert(claims->begin(), claims->end());
                seen.names.insert(heads->begin(), heads->end());
                seen.names.insert(parts->begin(), parts->end());
                seen.surveyed = seen.asked = true;
                seen.surveyed_at = clock.now();
                state->settle(node, true, clock.now());
              });
            });
          });
        });
        continue;
      }
      const auto& texts = state_->wanted_names(view, node, *sealer_);
      while (view.held < texts.size() && view.names.contains(texts[view.held])) ++view.held;
      if (view.held < texts.size()) {
        const MetaName name = state_->wanted[view.held];
        const std::string text = texts[view.held];
        if ((state_->held || !State::open(view)) && name.kind != MetaKind::claim) continue;
        if (name == state_->head && !view.claim_checked) {
          // Somebody may have taken over since: looked at before each head.
          view.busy = true;
          ++state_->requests;
          actions.push_back([=, &clock, sealer = sealer_] {
            list_all(*engine, node, sealer->claim_prefix(node), {}, [=, &clock](Result<std::vector<std::string>> claims) {
              std::lock_guard answer_lock(state->mutex);
              if (claims) state->note_claims(*claims, node, *sealer);
              if (claims) state->views[node].claim_checked = true;
              state->settle(node, claims.has_value(), clock.now());
            });
          });
          continue;
        }
        view.busy = true;
        ++state_->requests;
        actions.push_back([=, this, &clock] {
          auto object = store_.load(name);
          if (!object) {
            std::lock_guard answer_lock(state->mutex);
            return state->settle(node, false, clock.now());
          }
          engine->put(node, text, *object, [=, &clock](Result<> stored) {
            std::lock_guard answer_lock(state->mutex);
            if (stored) state->views[node].names.insert(text);
            if (stored && name.kind == MetaKind::head) {
              State::View& seen = state->views[node];
              seen.taken = std::max(seen.taken, name);
              if (state->recent.contains(name)) seen.holds = std::max(seen.holds, name);
              seen.behind = false;
              seen.in_batch = false;
            }
            // Judged as well: it counts how many nodes hold this computer's.
            if (stored && name.kind == MetaKind::claim) state->note_foreign(name, node);
            if (!stored && stored.error().code == Code::conflict) state->note_foreign(name, node);
            state->settle(node, stored.has_value(), clock.now());
          });
        });
        continue;
      }
      // What others told of is looked at first: something may rest on what would go.
      if (state_->keep_all || state_->held || !state_->all_asked(nodes, now)) continue;
      std::vector<std::string> gone;
      for (const std::string& text : state_->retired_names(view, node, *sealer_)) {
        if (gone.size() == removals_max) break;
        if (view.names.contains(text)) gone.push_back(text);
      }
      if (gone.empty()) continue;
      view.busy = true;
      state_->requests += gone.size();
      actions.push_back([=, &clock] {
        engine->remove(node, gone, [=, &clock](Result<std::size_t> removed) {
          std::lock_guard answer_lock(state->mutex);
          const bool well = removed && *removed == gone.size();
          if (well)
            for (const std::string& text : gone) state->views[node].names.erase(text);
          state->views[node].held = 0;  // what is wanted again may be among them
          state->settle(node, well, clock.now());
        });
      });
    }
    // What no node holds any more needs no name here either.
    const bool all_surveyed = std::all_of(state_->views.begin(), state_->views.end(), [](const auto& item) { return item.second.surveyed; });
    for (std::size_t i = 0; all_surveyed && i < state_->retired.size(); ++i) {
      const bool everywhere_gone = std::all_of(state_->views.begin(), state_->views.end(), [&](auto& item) {
        return !item.second.names.contains(state_->retired_names(item.second, item.first, *sealer_)[i]);
      });
      // Stays listed if that fails, and is tried again.
      if (everywhere_gone) actions.push_back([this, name = state_->retired[i]] { (void)store_.forget(name); });
    }
  }
  for (const auto& action : actions) action();
}

}  // namespace atl
