// TLS as both ends of the node protocol speak it: version 1.3 only, self-signed Ed25519 certificates, peers known by
// their public keys. No CA, no dates, no names, no early data, no tickets, no resumption. PROTOCOL.md, "Transport".
//
// Contexts are shared between connections and threads once made; their making throws if OpenSSL refuses. What a peer's
// certificate says beyond its key and, for devices, the signature of its account's key, is not looked at.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/net/key_pair.h"

struct ssl_ctx_st;
struct ssl_st;
struct x509_st;

namespace atl {

/// What the certificate of a delegate lets its holder do with the account's objects: no more than this, whatever the node
/// would let a device do. Both are beginnings of names.
struct DelegateRights {
  std::vector<std::string> put;  // objects that may be stored and read
  std::vector<std::string> get;  // objects that may be read only
  friend bool operator==(const DelegateRights&, const DelegateRights&) = default;
};

/// What a certificate proves by itself, before anyone decides whether its holder is welcome.
struct PeerCertificate {
  PublicKey key;
  /// The key that the certificate's issuer name points to, if it is not the own one. Nothing is proven by it yet.
  std::optional<KeyId> issuer;
  /// There if the certificate is a delegate's. One whose rights make no sense has none.
  std::optional<DelegateRights> delegate;
  /// Whether the certificate is signed by this key.
  bool signed_by(const PublicKey& key) const;

  std::shared_ptr<x509_st> handle;
};

/// A certificate for `pair`, signed by itself or, for a device or a delegate, by `account`. Always the same bytes for the
/// same keys and rights.
class TlsIdentity {
 public:
  explicit TlsIdentity(const KeyPair& pair);
  TlsIdentity(const KeyPair& device, const KeyPair& account);
  /// At most 32 rights, each at most 48 characters.
  TlsIdentity(const KeyPair& delegate, const KeyPair& account, const DelegateRights& rights);
  /// With a certificate that was made elsewhere for this key, as certificate_pem() gives it. Code::invalid if it is none,
  /// or another key's.
  static Result<TlsIdentity> with_certificate(const KeyPair& pair, const std::string& pem);
  const KeyPair& pair() const { return pair_; }
  /// The certificate and private key as PEM, for tools such as curl.
  std::string certificate_pem() const;
  std::string key_pem() const;

 private:
  friend std::shared_ptr<ssl_ctx_st> make_context(const TlsIdentity&, bool);
  TlsIdentity(const KeyPair& pair, std::shared_ptr<x509_st> certificate) : pair_(pair), certificate_(std::move(certificate)) {}
  KeyPair pair_;
  std::shared_ptr<x509_st> certificate_;
};

/// Asked during the handshake, on its thread, with nothing of the peer parsed but its certificate. False ends the
/// connection. What it learns it can leave where attachment(connection) points.
using PeerCheck = std::function<bool(ssl_st* connection, const PeerCertificate& peer)>;

/// A server's context: demands a certificate and asks `welcome` about it.
std::shared_ptr<ssl_ctx_st> server_context(const TlsIdentity& identity, PeerCheck welcome);

/// A client's context: shows `identity` and asks `is_it` about the server.
std::shared_ptr<ssl_ctx_st> client_context(const TlsIdentity& identity, PeerCheck is_it);

/// A pointer of the caller's that belongs to one connection.
void attach(ssl_st* connection, void* pointer);
void* attachment(const ssl_st* connection);

}  // namespace atl
