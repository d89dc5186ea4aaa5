# A Debian package of what `cmake --install` installs: cmake --build --preset release && (cd build/release && cpack)
# It needs dpkg-dev, which finds out the libraries to depend on.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME atoll)
set(CPACK_PACKAGE_CONTACT "The Atoll maintainers <maintainers@atoll.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "encrypted, erasure-coded drive spread over many disks")
set(CPACK_PACKAGE_DESCRIPTION "Atoll mounts as an ordinary directory. What is saved there is split, encrypted and
erasure-coded on this computer, and spread over storage nodes, so that any k of n bring it back.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# The last two are loaded when a recovery kit is drawn, so that nothing else tells of them.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "fuse3, libcairo2, libqrencode4")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
include(CPack)
