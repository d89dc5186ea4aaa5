// What a delegate's program must not be: one with the keyring linked in. delegate.sh looks for its symbols, and finds them.
#include "cache/keys/keyring.h"
#include "fs/delegate/service.h"

int main(int count, char** words) {
  atl::SystemRandom random;
  const atl::Keyring keyring = atl::Keyring::generate(random);
  return keyring.derive(keyring.current(), atl::KeyPurpose::content) ? atl::run_delegate(count, words) : 1;
}
