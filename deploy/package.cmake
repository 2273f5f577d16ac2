# SPDX-License-Identifier: Apache-2.0
# What is installed besides the programs, and the Debian package of all of it: `cpack --config CPackConfig.cmake` in the
# build's folder, after a build.
find_program(HELP2MAN help2man REQUIRED)
set(deploy ${CMAKE_SOURCE_DIR}/deploy)
set(pages ${CMAKE_BINARY_DIR}/package)

set(CPACK_PACKAGE_CONTACT "Trapline maintainers <root@localhost>" CACHE STRING "Whom the package names as its maintainer")

# manual_page(NAME SECTION DESCRIPTION): of the program's own --help, as somebody sees it where it is installed.
function(manual_page name section description)
  set(page ${pages}/${name}.${section})
  file(GENERATE OUTPUT ${pages}/${name} CONTENT
"#!/bin/sh
env -i \"$<TARGET_FILE:${name}>\" \"$@\" | sed 's|${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/|/usr/${CMAKE_INSTALL_LIBEXECDIR}/trapline/|'
" FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  add_custom_command(OUTPUT ${page}.gz
    COMMAND ${HELP2MAN} --no-info --section=${section} --name=${description} --version-string=${PROJECT_VERSION}
            --output=${page} ${pages}/${name}
    COMMAND gzip -9nf ${page}
    DEPENDS ${name} ${pages}/${name} VERBATIM)
  install(FILES ${page}.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
  set(made ${made} ${page}.gz PARENT_SCOPE)
endfunction()
manual_page(trapline 1 "run VMs on traplined and watch their hypercall sites")
manual_page(traplined 8 "keep VMs and serve their control over gRPC")

add_custom_command(OUTPUT ${pages}/trapline.bash
  COMMAND trapline completion bash >${pages}/trapline.bash
  DEPENDS trapline)
add_custom_target(trapline_pages ALL DEPENDS ${made} ${pages}/trapline.bash)
install(FILES ${pages}/trapline.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME trapline)

foreach(guest events faults hello hypercall_bench idle smp)
  install(FILES ${CMAKE_BINARY_DIR}/guests/${guest}.elf DESTINATION ${CMAKE_INSTALL_DATADIR}/trapline/guests)
endforeach()
foreach(folder prometheus grafana)
  install(DIRECTORY ${deploy}/${folder} DESTINATION ${CMAKE_INSTALL_DATADIR}/trapline)
endforeach()

install(FILES ${deploy}/systemd/traplined.service ${deploy}/systemd/traplined.socket ${deploy}/systemd/trapline-vms.service
  DESTINATION lib/systemd/system)
foreach(kind sysusers tmpfiles)
  install(FILES ${deploy}/systemd/${kind}.conf DESTINATION lib/${kind}.d RENAME trapline.conf)
endforeach()
# Outside of the prefix, as conffiles are.
install(FILES ${deploy}/systemd/default DESTINATION /etc/default RENAME traplined)
install(FILES ${deploy}/systemd/traplined.toml DESTINATION /etc/trapline)
file(WRITE ${pages}/conffiles "/etc/default/traplined\n/etc/trapline/traplined.toml\n")

install(FILES ${deploy}/debian/copyright ${deploy}/README.md ${deploy}/traplined.toml DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/trapline)
install(FILES ${deploy}/debian/lintian-overrides DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME trapline)
# Written as it is packed, with the version that is packed.
install(CODE "
  set(CPACK_PACKAGE_CONTACT \"${CPACK_PACKAGE_CONTACT}\")
  if(NOT CPACK_PACKAGE_VERSION)
    set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
  endif()
  set(documents \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/doc/trapline)
  configure_file(${deploy}/debian/changelog.in \${documents}/changelog @ONLY)
  execute_process(COMMAND gzip -9nf \${documents}/changelog COMMAND_ERROR_IS_FATAL ANY)
")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME trapline)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gRPC-controlled virtualization daemon on a trap-and-patch core")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Hosts guest CPUs in software, or natively in deprivileged processes, and
rewrites their hypercall instructions as they are used. VMs and the sites
that are rewritten are managed and watched over gRPC. Needs neither VT,
nor /dev/kvm, nor root.")
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# A container has no use for all of systemd, but for the user and the folders.
set(CPACK_DEBIAN_PACKAGE_DEPENDS
  "systemd (>= 252) | systemd-standalone-sysusers, systemd (>= 252) | systemd-standalone-tmpfiles")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${deploy}/debian/postinst ${deploy}/debian/prerm ${deploy}/debian/postrm ${pages}/conffiles)
include(CPack)
