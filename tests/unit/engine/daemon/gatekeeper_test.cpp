#include "engine/daemon/gatekeeper.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <catch2/catch.hpp>

#include "engine/net/tls.h"
#include "tests/support/node_host.h"

using namespace atl;

namespace {

/// The certificate as a handshake reads it, except that it says of itself that `issuer` signed it.
PeerCertificate certificate_of(const TlsIdentity& identity, const KeyId& issuer) {
  const std::string pem = identity.certificate_pem();
  const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  PeerCertificate peer;
  peer.key = identity.pair().public_key();
  peer.issuer = issuer;
  peer.handle.reset(PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr), X509_free);
  REQUIRE(peer.handle);
  return peer;
}

}  // namespace

TEST_CASE("A device's certificate that its account did not sign opens nothing", "[daemon]") {
  NodeHost host;
  Gatekeeper gatekeeper(host.store, host.disk, NodeHost::folder, host.server->id(), host.clock);
  const KeyPair& account = host.credentials.account;
  const auto device = KeyPair::generate(host.random);
  const auto welcome = gatekeeper.welcome(certificate_of(TlsIdentity(device, account), account.id()));
  REQUIRE(welcome);
  CHECK(welcome->role == Role::device);
  CHECK(welcome->account == host.account_id());
  // A stranger's signature under the account's name, and the device's own.
  const auto stranger = KeyPair::generate(host.random);
  CHECK_FALSE(gatekeeper.welcome(certificate_of(TlsIdentity(device, stranger), account.id())));
  CHECK_FALSE(gatekeeper.welcome(certificate_of(TlsIdentity(device), account.id())));
  // What is signed well, by an account that the node does not have.
  CHECK_FALSE(gatekeeper.welcome(certificate_of(TlsIdentity(device, stranger), stranger.id())));
}
