#include "engine/net/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <stdexcept>

namespace atl {

namespace {

[[noreturn]] void refuse(const char* what) {
  ERR_clear_error();
  throw std::runtime_error(std::string("OpenSSL could not ") + what);
}

EVP_PKEY* handle_of(const KeyPair& pair) { return static_cast<EVP_PKEY*>(pair.handle()); }

constexpr const char* delegate_title = "atoll-delegate";
constexpr std::string_view put_right = "put ";
constexpr std::string_view get_right = "get ";

void add_entry(X509_NAME* name, const char* field, const std::string& text) {
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_ASC, reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), -1, 0) != 1)
    refuse("name a certificate");
}

/// The texts of a name's entries of one kind, in order; nothing if one of them is longer than any that this program writes.
std::optional<std::vector<std::string>> entries_of(X509_NAME* name, int kind) {
  constexpr int text_max = 64;
  std::vector<std::string> texts;
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, kind, at)) >= 0;) {
    const ASN1_STRING* const text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    const int length = ASN1_STRING_length(text);
    if (length > text_max) return std::nullopt;
    texts.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<std::size_t>(length));
  }
  return texts;
}

/// Nothing for a device. Whatever else stands there: a delegate, with the rights that are understood whole, or none.
std::optional<DelegateRights> rights_of(X509_NAME* subject) {
  const auto titles = entries_of(subject, NID_organizationName);
  if (titles && titles->empty()) return std::nullopt;
  const auto rights = entries_of(subject, NID_organizationalUnitName);
  if (!titles || *titles != std::vector<std::string>{delegate_title} || !rights) return DelegateRights{};
  DelegateRights understood;
  for (const std::string& right : *rights) {
    const bool put = right.starts_with(put_right);
    if ((!put && !right.starts_with(get_right)) || right.size() == put_right.size()) return DelegateRights{};
    (put ? understood.put : understood.get).push_back(right.substr(put_right.size()));
  }
  return understood;
}

/// Version 3, serial 1, from 1970 to RFC 5280's "no well-defined end", named by the ids of the keys.
std::shared_ptr<X509> make_certificate(const KeyPair& subject, const KeyPair& issuer, const DelegateRights* rights = nullptr) {
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509* const x = certificate.get();
  if (x == nullptr || X509_set_version(x, X509_VERSION_3) != 1 || ASN1_INTEGER_set(X509_get_serialNumber(x), 1) != 1 ||
      ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "19700101000000Z") != 1 ||
      ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "99991231235959Z") != 1 ||
      X509_set_pubkey(x, handle_of(subject)) != 1)
    refuse("make a certificate");
  X509_NAME* const name = X509_get_subject_name(x);
  add_entry(name, "CN", subject.id().hex());
  if (rights != nullptr) {
    add_entry(name, "O", delegate_title);
    for (const std::string& prefix : rights->put) add_entry(name, "OU", std::string(put_right) + prefix);
    for (const std::string& prefix : rights->get) add_entry(name, "OU", std::string(get_right) + prefix);
  }
  add_entry(X509_get_issuer_name(x), "CN", issuer.id().hex());
  if (X509_sign(x, handle_of(issuer), nullptr) == 0) refuse("sign a certificate");
  return certificate;
}

std::optional<PeerCertificate> read_certificate(X509* x) {
  PeerCertificate peer;
  EVP_PKEY* const key = X509_get0_pubkey(x);
  std::size_t size = PublicKey::size;
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(key, peer.key.bytes.data(), &size) != 1 || size != PublicKey::size)
    return std::nullopt;
  char text[2 * KeyId::size + 2] = {};
  const int length = X509_NAME_get_text_by_NID(X509_get_issuer_name(x), NID_commonName, text, sizeof text);
  if (length == 2 * KeyId::size) {
    const auto issuer = KeyId::from_hex({text, static_cast<std::size_t>(length)});
    if (issuer && *issuer != key_id(peer.key)) peer.issuer = *issuer;
  }
  peer.delegate = rights_of(X509_get_subject_name(x));
  X509_up_ref(x);
  peer.handle.reset(x, X509_free);
  return peer;
}

/// Not the application's data, which Asio takes for its own.
int check_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

/// Takes the place of OpenSSL's verification of chains.
int check_peer(X509_STORE_CTX* store, void*) {
  auto* const connection =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509* const leaf = X509_STORE_CTX_get0_cert(store);
  const auto* const check = static_cast<const PeerCheck*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(connection), check_index()));
  bool welcome = false;
  if (leaf != nullptr && check != nullptr) {
    const auto peer = read_certificate(leaf);
    // No exception may pass through OpenSSL's frames.
    try {
      welcome = peer && (*check)(connection, *peer);
    } catch (...) {
      welcome = false;
    }
  }
  X509_STORE_CTX_set_error(store, welcome ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
  return welcome ? 1 : 0;
}

int attachment_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

bool PeerCertificate::signed_by(const PublicKey& signer) const {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> signer_key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, signer.bytes.data(), PublicKey::size), EVP_PKEY_free);
  const bool sound = handle && signer_key && X509_verify(handle.get(), signer_key.get()) == 1;
  ERR_clear_error();
  return sound;
}

TlsIdentity::TlsIdentity(const KeyPair& pair) : pair_(pair), certificate_(make_certificate(pair, pair)) {}

TlsIdentity::TlsIdentity(const KeyPair& device, const KeyPair& account)
    : pair_(device), certificate_(make_certificate(device, account)) {}

TlsIdentity::TlsIdentity(const KeyPair& delegate, const KeyPair& account, const DelegateRights& rights)
    : pair_(delegate), certificate_(make_certificate(delegate, account, &rights)) {}

Result<TlsIdentity> TlsIdentity::with_certificate(const KeyPair& pair, const std::string& pem) {
  const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  std::shared_ptr<X509> certificate(memory ? PEM_read_bio_X509(memory.get(), nullptr, nullptr, nullptr) : nullptr, X509_free);
  const bool fits = certificate && X509_check_private_key(certificate.get(), handle_of(pair)) == 1;
  ERR_clear_error();
  if (!fits) return fail(Code::invalid, "a certificate does not fit its key");
  return TlsIdentity(pair, std::move(certificate));
}

std::string TlsIdentity::certificate_pem() const {
  const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new(BIO_s_mem()), BIO_free);
  if (!memory || PEM_write_bio_X509(memory.get(), certificate_.get()) != 1) refuse("write a certificate");
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string TlsIdentity::key_pem() const {
  const std::unique_ptr<BIO, int (*)(BIO*)> memory(BIO_new(BIO_s_secmem()), BIO_free);
  if (!memory || PEM_write_bio_PrivateKey(memory.get(), handle_of(pair_), nullptr, nullptr, 0, nullptr, nullptr) != 1)
    refuse("write a key");
  char* text = nullptr;
  const long size = BIO_get_mem_data(memory.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::shared_ptr<ssl_ctx_st> make_context(const TlsIdentity& identity, bool server) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()), SSL_CTX_free);
  SSL_CTX* const c = context.get();
  if (c == nullptr || SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 ||
      SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) != 1 || SSL_CTX_set1_sigalgs_list(c, "ed25519") != 1 ||
      SSL_CTX_use_certificate(c, identity.certificate_.get()) != 1 ||
      SSL_CTX_use_PrivateKey(c, handle_of(identity.pair())) != 1 || SSL_CTX_check_private_key(c) != 1)
    refuse("prepare TLS 1.3 with Ed25519");
  if (server && (SSL_CTX_set_num_tickets(c, 0) != 1 || SSL_CTX_set_max_early_data(c, 0) != 1))
    refuse("turn session tickets off");
  SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_max_cert_list(c, 8192);
  SSL_CTX_set_verify(c, server ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(c, check_peer, nullptr);
  return context;
}

namespace {

/// The context owns the check: its last owner frees both.
std::shared_ptr<SSL_CTX> with_check(std::shared_ptr<SSL_CTX> context, PeerCheck check) {
  struct Both {
    std::shared_ptr<SSL_CTX> context;
    PeerCheck check;
  };
  auto both = std::make_shared<Both>();
  both->context = std::move(context);
  both->check = std::move(check);
  SSL_CTX_set_ex_data(both->context.get(), check_index(), &both->check);
  SSL_CTX* const raw = both->context.get();
  return {std::move(both), raw};
}

}  // namespace

std::shared_ptr<ssl_ctx_st> server_context(const TlsIdentity& identity, PeerCheck welcome) {
  return with_check(make_context(identity, true), std::move(welcome));
}

std::shared_ptr<ssl_ctx_st> client_context(const TlsIdentity& identity, PeerCheck is_it) {
  return with_check(make_context(identity, false), std::move(is_it));
}

void attach(ssl_st* connection, void* pointer) { SSL_set_ex_data(connection, attachment_index(), pointer); }
void* attachment(const ssl_st* connection) { return SSL_get_ex_data(connection, attachment_index()); }

}  // namespace atl
