/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every finding of a check, in one table: what `migctl check` and `migctl devices` print, what makes
 * Domain.Migrate refuse, what `migctl explain CODE` tells, and the page doc/findings.md are all made from it.
 *
 *   X(symbol, code, severity, waivable, title, story, remedy)
 *
 * code: stable for ever, what scripts and operators match on: subject first, then what is wrong.
 * severity: ERROR: a migration would be refused; WARNING: it can be begun, at a price that the sentence
 *   names; NOTE: worth knowing.
 * waivable: an ERROR that the operator may overrule with --allow CODE; it counts as a WARNING then.
 * title: one line, without the names of this case. story: what it means, why migd says so, where the fact
 *   comes from. remedy: what to do in general; the finding itself carries the remedy for its case.
 *
 * Kept in the order of the codes.
 */
#pragma once

/* clang-format off */
#define MIGD_FINDING_TABLE(X)                                                                                \
    X(FINDING_BANDWIDTH_ASSUMED, "bandwidth-assumed", NOTE, false,                                           \
      "The bandwidth to the destination is not known: 10 Gbit/s is assumed",                                 \
      "How long a blackout takes is bytes divided by bandwidth, and the bandwidth is known once a "          \
      "migration to this destination has run under this migd. Until then 10 Gbit/s is assumed, or "          \
      "what --bandwidth allows when that is less. A slower link makes the blackout longer in "               \
      "proportion.",                                                                                         \
      "Give --bandwidth with what the link really carries, or migrate something small there first.")         \
    X(FINDING_CONTAINER_BLIND, "container-blind", ERROR, true,                                               \
      "A container reports all its memory as written, always",                                               \
      "A type1 container reads no dirty bits of the hardware. Unless every device in it belongs to a "       \
      "driver that tells VFIO which pages it pins (mediated devices), the kernel answers every "             \
      "question for written pages with all of them. migd recognises it by two answers in a row that "        \
      "are all ones. Rounds of precopy then send everything again and again and never come to an end; "      \
      "only a blackout in which everything is sent is correct.",                                             \
      "Attach the device to an iommufd HWPT with dirty tracking, or use the device's own log and "           \
      "leave the container out; or accept the blackout with --on-stall force.")                              \
    X(FINDING_CONTAINER_COARSE, "container-coarse", WARNING, false,                                          \
      "The IOMMU may map this memory in huge pages, and dirty bits mean whole huge pages then",              \
      "An IOMMU has one dirty bit per page-table entry. Memory on huge pages is usually mapped in "          \
      "entries of 2 MiB or 1 GiB, so a device that writes one byte marks all of that as written, and "       \
      "all of it is sent again: up to 512 or 262144 times what was changed. migd shows the factor as "       \
      "amplification when it verifies.",                                                                     \
      "Let the owner of the iommufd set IOMMU_OPTION_HUGE_PAGES to 0 on the IOAS before anything is "        \
      "attached, or use the device's own log, which is exact to 4 KiB with many drivers.")                   \
    X(FINDING_CONTAINER_DIFFERS, "container-differs", ERROR, false,                                          \
      "The container is there already, and is another than was asked for",                                   \
      "The devices of a container share one DMA address space, so that its interface (iommufd or legacy), "  \
      "whether its entries are split, and who maps it are decided with its first device. A later device "    \
      "that asks for something else cannot have it.",                                                        \
      "Leave the option out: the container decides; or open the device into a container of its own, with "   \
      "another name.")                                                                                       \
    X(FINDING_CONTAINER_NO_SPLIT, "container-no-split", ERROR, false,                                        \
      "The container cannot be split into entries of 4 KiB",                                                 \
      "The option split asks for IOMMU entries of 4 KiB whatever the pages of the memory are, so that a "    \
      "dirty bit means 4 KiB. Only an iommufd has it (IOMMU_OPTION_HUGE_PAGES), and only before the first "  \
      "device is attached to its IOAS.",                                                                     \
      "Open the first device of the container with interface iommufd and split, or leave split out: then "   \
      "a bit means as much as an entry maps, up to 1 GiB.")                                                  \
    X(FINDING_CONTAINER_PARTIAL, "container-partial", WARNING, false,                                        \
      "Some HWPTs of an iommufd do not track writes",                                                        \
      "Each HWPT of an iommufd has dirty bits of its own, and only one that was allocated with "             \
      "DIRTY_TRACKING has any. The kernel does not tell a second process which device is attached to "       \
      "which. What a device on one of the others writes is in none of the bits that migd reads.",            \
      "Let the owner attach every device to an HWPT with DIRTY_TRACKING, or track those devices by "         \
      "their own logs.")                                                                                     \
    X(FINDING_CONTAINER_REFUSED, "container-refused", ERROR, false,                                          \
      "The kernel does not put this device into that container",                                             \
      "All devices of a container share one DMA address space. The kernel refuses one whose IOMMU has "      \
      "other properties (page sizes, coherency), or for which a range that is mapped already is reserved.",  \
      "Open it into a container of its own: option container with another name; and map its memory there, "  \
      "too.")                                                                                                \
    X(FINDING_CONTAINER_TRACKING_REFUSED, "container-tracking-refused", ERROR, false,                        \
      "The kernel does not turn dirty tracking of a container on",                                           \
      "migd turned tracking on for a moment, as a migration does before it reads the first page, and "       \
      "the kernel refused. An HWPT that was not allocated with DIRTY_TRACKING cannot track, an "             \
      "automatic one (made by attaching to an IOAS) never can, and an iommufd that plays a type1 "           \
      "container has no dirty tracking at all.",                                                             \
      "Attach the device to an HWPT allocated with DIRTY_TRACKING before the iommufd is handed over, "       \
      "or use the device's own log, or tracker \"all\".")                                                    \
    X(FINDING_CONTAINER_UNMAPPED, "container-unmapped", WARNING, false,                                      \
      "migd does not know that anything is mapped in a container",                                           \
      "Neither type1 nor iommufd lets a second process list the mappings of a container, so whoever "        \
      "maps must tell migd IOVA, length and memory. migd reads dirty bits of the mappings that it was "      \
      "told of, and of nothing else: what a device writes through a mapping that migd has not heard "        \
      "of is not found.",                                                                                    \
      "Register the memory with its IOVAs (iova=), or tell migd of each mapping with Domain.Map.")           \
    X(FINDING_CONTROLLER_GONE, "controller-gone", ERROR, false,                                              \
      "The VMM's controller does not answer",                                                                \
      "The controller pauses and resumes the workload over D-Bus. migd sent it "                             \
      "org.freedesktop.DBus.Peer.Ping, which every bus library answers by itself, and had no answer "        \
      "in time: the VMM has ended, has left the bus, or its main loop is stuck. A migration would "          \
      "fail at the switch-over, after all memory was sent.",                                                 \
      "Start the VMM or its bus connection again, or name its new bus name with SetController.")             \
    X(FINDING_CONTROLLER_LOG_REFUSED, "controller-log-refused", ERROR, false,                                \
      "The VMM does not log what its CPUs write",                                                            \
      "The domain has a cpu-log: a bitmap in which the VMM marks every page that its CPUs write. The log "   \
      "costs the guest, so migd asks for it (StartLog) only while a migration or a check runs, and the VMM " \
      "has refused or did not answer in time. Without it, what the CPUs write after the first copy would "   \
      "be lost, so nothing is begun.",                                                                       \
      "The VMM's own words say why; free what it lacks, or leave the VMM's log on for good and do not "      \
      "export StartLog.")                                                                                    \
    X(FINDING_CONTROLLER_MISSING, "controller-missing", ERROR, false,                                        \
      "The destination has no controller for the VMM's own state",                                           \
      "At the source a VMM is paused, resumed and asked for its own state (CPUs, emulated devices). "        \
      "The domain at the destination has no controller, so nobody there could load that state, and the "     \
      "workload could not go on.",                                                                           \
      "Set a controller at the destination: migctl register --controller, or Domain.SetController.")         \
    X(FINDING_CONTROLLER_NONE, "controller-none", WARNING, false,                                            \
      "There is no controller: migd cannot pause the workload",                                              \
      "Without a controller migd stops the devices, but nobody stops the CPUs. What they write after "       \
      "the final read of the trackers is not sent; where a tracker watches them the gate finds it and "      \
      "refuses. That is right for a workload that is nothing but its devices, or that stands still by "      \
      "other means during the switch-over.",                                                                 \
      "Name the VMM with SetController (register --controller dbus:NAME:PATH), or pause the workload "       \
      "yourself.")                                                                                           \
    X(FINDING_CONVERGENCE_IMPOSSIBLE, "convergence-impossible", ERROR, true,                                 \
      "What can only be sent in the blackout does not fit into the downtime",                                \
      "Memory whose writes nobody tracks, and device state, are sent while everything stands still. "        \
      "Their bytes divided by the bandwidth are the least that the blackout takes, however many "            \
      "rounds go before it, and here that is more than --max-downtime allows. DMA cannot be "                \
      "throttled, so waiting does not help either.",                                                         \
      "Let something track the writes (device log, iommufd, cpu-log, uffd), allow a longer "                 \
      "--max-downtime, or choose --on-stall force.")                                                         \
    X(FINDING_CPU_UNTRACKED, "cpu-untracked", WARNING, false,                                                \
      "Nothing tracks what the CPUs write, although there is a VMM",                                         \
      "The trackers of devices and of the IOMMU see DMA only. What vCPUs and threads of the VMM write "      \
      "is in none of them, and KVM gives its dirty log to the VM's owner alone, so the VMM must pass "       \
      "it on. Pages that a CPU writes after they were sent are lost without any sign, unless --verify "      \
      "compares the memory.",                                                                                \
      "Register a cpu-log that the VMM fills, a userfaultfd of it (uffd), or soft-dirty or digests where "    \
      "neither is possible. --verify=strict proves that nothing was lost.")                                  \
    X(FINDING_DESTINATION_INVALID, "destination-invalid", ERROR, false,                                      \
      "The destination is not an address",                                                                   \
      "A destination is HOST, HOST:PORT, [V6ADDRESS]:PORT or unix:PATH. The text cannot be read as "         \
      "one of them, so nothing was asked there.",                                                            \
      "Write it as host, host:port, [v6]:port or unix:/path.")                                               \
    X(FINDING_DEVICE_ADDRESS_INVALID, "device-address-invalid", ERROR, false,                                \
      "That is not the address of a device",                                                                 \
      "A device is named by its PCI address (0000:17:00.1, or 17:00.1), by the UUID of a mediated device, "  \
      "or by a path below /sys that ends at a device.",                                                      \
      "lspci -D lists PCI addresses, ls /sys/bus/mdev/devices mediated devices.")                            \
    X(FINDING_DEVICE_ATTACHED_UNTRACKED, "device-attached-untracked", ERROR, false,                          \
      "The device is attached where the IOMMU tracks nothing",                                               \
      "Tracker \"container\" says that the dirty bits of the DMA address space cover the device. They "      \
      "cover devices on an HWPT that was allocated with dirty tracking; this one is attached without, "      \
      "since that was asked for or since its IOMMU cannot. Its writes would be lost, silently.",             \
      "Open it with dirty-tracking where the IOMMU has it; else use the device's own log (tracker "          \
      "device), or tracker all: then all memory is sent in the blackout.")                                   \
    X(FINDING_DEVICE_BUSY, "device-busy", ERROR, false,                                                      \
      "Somebody else has the device, or another one of its group, open",                                     \
      "A VFIO device belongs to one process at a time, and so does the IOMMU group it is in: whoever has "   \
      "it must close it before migd can open it. What migd has opened for one domain it does not open for "  \
      "another.",                                                                                            \
      "End the process that has it, or let that process hand its descriptors to migd (AddContainer, "        \
      "AddDevice); or release the domain that has it.")                                                      \
    X(FINDING_DEVICE_DRIVER_DIFFERS, "device-driver-differs", ERROR, true,                                   \
      "The device's kernel driver is another one at the destination",                                        \
      "Device state is private to the driver that saved it: its layout is promised to no other driver, "     \
      "and a driver that does not check what it is given may run the device with it. The names come "        \
      "from sysfs on both hosts.",                                                                           \
      "Bind the same driver on both hosts. Where two names stand for the same state format (a renamed "      \
      "or backported driver): --allow device-driver-differs.")                                               \
    X(FINDING_DEVICE_DRIVER_UNKNOWN, "device-driver-unknown", NOTE, false,                                   \
      "It is not known which kernel driver the device has on one of the hosts",                              \
      "migd reads the driver's name from sysfs, by way of what the kernel says of the descriptor "           \
      "(vfio-device-syspath in /proc/self/fdinfo, new kernels only). Where it is not told, the drivers "     \
      "of the two hosts cannot be compared, and PCI ids and migration flags are all that is.",               \
      "Compare the drivers by hand: ls -l /sys/bus/pci/devices/ADDRESS/driver on both hosts.")               \
    X(FINDING_DEVICE_ERROR_STATE, "device-error-state", ERROR, false,                                        \
      "The device is in the migration state ERROR",                                                          \
      "ERROR is where the kernel, or a vfio-user server, puts a device whose change of state failed "        \
      "half-way. No state can be reached from there; only a reset of the device leads out, and a "           \
      "reset loses what the device holds. The kernel never enters or leaves it on its own.",                 \
      "Stop the workload's use of the device, reset it (VFIO_DEVICE_RESET), and let its driver set it "      \
      "up anew.")                                                                                            \
    X(FINDING_DEVICE_FACTS_UNKNOWN, "device-facts-unknown", NOTE, false,                                     \
      "The device cannot say what it is, because it stands still",                                           \
      "A vfio-user server whose device is in STOP or STOP_COPY does not let its configuration space be read. "\
      "That is how an arrival that ended with its daemon leaves a device behind. So a check cannot compare "  \
      "its ids and regions with those of the source; when a migration comes, migd first makes the device "   \
      "ready to take a state, in which it speaks again, and compares then.",                                 \
      "Nothing has to be done; to see the comparison now, restart the device's server.")                     \
    X(FINDING_DEVICE_FLAGS_DIFFER, "device-flags-differ", WARNING, false,                                    \
      "The device migrates in other ways at the destination",                                                \
      "The migration flags (PRE_COPY, P2P) of a driver often go with a version of it and a format of its "   \
      "state. What the source's device sends while it stands still is usually loaded all the same; where "   \
      "it is not, the destination's device refuses it before it runs and the source goes on, but the "       \
      "blackout was for nothing then. A source with PRE_COPY and a destination without is another matter: "  \
      "device-precopy-missing.",                                                                             \
      "Bring driver and firmware to the same version on both hosts, or try it when the workload can "        \
      "stand a pause.")                                                                                      \
    X(FINDING_DEVICE_GONE, "device-gone", ERROR, false,                                                      \
      "The device's server has ended the connection",                                                        \
      "A vfio-user device is a process behind a socket. Its connection is closed: the server has "           \
      "ended, crashed, or thrown migd out. Nothing of its state can be saved any more.",                     \
      "Start the device's server again, release the domain and register it anew.")                           \
    X(FINDING_DEVICE_HELD, "device-held", NOTE, false,                                                       \
      "Somebody has the device, so it was not asked",                                                        \
      "VFIO gives a device to one owner. What the driver can do is learned from the device's descriptor, "   \
      "and the owner has it: a VMM that runs, or another driver program. migd finds owners by what they "    \
      "hold open under /dev/vfio, and on kernels that tell it by the descriptor of the device itself.",      \
      "Register the workload with migd and let migctl check look at it, or list the device again when "      \
      "nobody has it.")                                                                                      \
    X(FINDING_DEVICE_IDS_DIFFER, "device-ids-differ", ERROR, true,                                           \
      "The device is another model at the destination",                                                      \
      "Vendor, device and subsystem ids are what the guest's driver knows the device by, and what the "      \
      "state inside it was made for. Another model may refuse the state, or take it and misbehave.",         \
      "Use the same model on both hosts. Where only the board maker's subsystem ids differ: --allow "        \
      "device-ids-differ.")                                                                                  \
    X(FINDING_DEVICE_KIND_DIFFERS, "device-kind-differs", ERROR, false,                                      \
      "The device is of another kind at the destination",                                                    \
      "A vfio-user server and a kernel driver save state in formats that have nothing to do with each "      \
      "other, even for the same model of device.",                                                           \
      "Register a device of the same kind at the destination.")                                              \
    X(FINDING_DEVICE_LAYOUT_DIFFERS, "device-layout-differs", WARNING, false,                                \
      "The device has another number of regions or interrupts at the destination",                           \
      "The guest has mapped the device's regions and set up its interrupts as it found them at the "         \
      "source. Where the destination's device has others, the guest may touch what is not there.",           \
      "Compare both devices (lspci -vv): same model, same firmware settings, same number of interrupt "      \
      "vectors.")                                                                                            \
    X(FINDING_DEVICE_LOG_REFUSED, "device-log-refused", ERROR, false,                                        \
      "The device does not turn its log of DMA on",                                                          \
      "migd turned the device's dirty log on for a moment, as a migration does before it reads the "         \
      "first page, and the device refused. Drivers refuse when the ranges are too many or too large "        \
      "in sum for their hardware, when somebody else has the log on, or when they announce the "             \
      "feature and do not have it: without IOMMUFD in its configuration, as in Debian's, the kernel "        \
      "answers the start and fails each report.",                                                            \
      "Turn the log off where somebody else uses it, map less memory, or let a container of the "            \
      "domain (tracker \"container\") or \"all\" track the device.")                                         \
    X(FINDING_DEVICE_LOG_UNSERVED, "device-log-unserved", NOTE, false,                                       \
      "The driver logs DMA writes, but this kernel does not hand the log out",                               \
      "The driver offers DMA logging, and the kernel even says yes to starting it, but it refuses every "    \
      "report with EOPNOTSUPP: the part that hands the log to user space is built with iommufd only "        \
      "(CONFIG_IOMMUFD), and the kernels of some distributions, Debian's among them, are built without. "    \
      "migd asks for a report before it believes in a log.",                                                 \
      "Run a kernel that is built with CONFIG_IOMMUFD; the driver and the device need no change.")           \
    X(FINDING_DEVICE_MDEV_UNTRACKED, "device-mdev-untracked", ERROR, false,                                  \
      "The writes of a mediated device are not in the iommufd's dirty bits",                                 \
      "A mediated device does not DMA through the IOMMU: its driver writes guest memory by "                 \
      "vfio_dma_rw or through pinned pages. An iommufd reads the dirty bits of the IOMMU's page "            \
      "tables, in which such writes never appear; only type1 keeps account of them. With tracker "           \
      "\"container\" every page that it writes would be lost.",                                              \
      "Track the device by its own log (tracker \"device\"), by a type1 container of mediated devices "      \
      "alone, or by tracker \"all\".")                                                                       \
    X(FINDING_DEVICE_MISSING, "device-missing", ERROR, false,                                                \
      "A device of the source is missing at the destination",                                                \
      "Each device of the domain hands its state to the device of the same name at the destination. "        \
      "Without one there the state has no place to go.",                                                     \
      "Register a device under the same name at the destination.")                                           \
    X(FINDING_DEVICE_NO_DIRTY_TRACKING, "device-no-dirty-tracking", WARNING, false,                          \
      "Nothing can tell which pages the device writes",                                                      \
      "Memory can only be copied while the workload runs if somebody says which pages are written "          \
      "meanwhile. This device keeps no log of its own, and no address space of the kernel knows: a type1 "   \
      "container calls every page of a hardware device dirty at every look, and an iommufd knows only "      \
      "with an IOMMU that has dirty bits. The migration is correct all the same, but everything that the "   \
      "device can reach is sent after it was stopped, so the downtime is the memory divided by the "         \
      "bandwidth.",                                                                                          \
      "Use a device whose driver logs DMA, or a host whose IOMMU has dirty bits with a kernel that has "     \
      "iommufd. Else accept the downtime: migctl start --on-stall force.")                                   \
    X(FINDING_DEVICE_NO_LOG, "device-no-log", ERROR, false,                                                  \
      "The device does not log what it writes",                                                              \
      "Tracker \"device\" is the device's own log of its DMA (VFIO_DEVICE_FEATURE_DMA_LOGGING). The "        \
      "driver of this one has none, or the kernel cannot serve it because it was built without iommufd.",    \
      "Use the dirty bits of its container (tracker container) where the IOMMU has them, or tracker all: "   \
      "then all memory is sent in the blackout.")                                                            \
    X(FINDING_DEVICE_NO_MIGRATION, "device-no-migration", ERROR, false,                                      \
      "The device or its driver does not support migration",                                                 \
      "The kernel's VFIO driver of this device answers no to the feature "                                   \
      "VFIO_DEVICE_FEATURE_MIGRATION, or its vfio-user server offers no state STOP_COPY. Without it "        \
      "the state inside the device cannot be saved, and a migration would start the destination with "       \
      "a blank device. Plain vfio-pci never has it: a variant driver of the vendor does.",                   \
      "Bind the vendor's variant driver where the kernel has one (migctl devices names it), or move "        \
      "the workload without this device.")                                                                   \
    X(FINDING_DEVICE_NO_P2P, "device-no-p2p", ERROR, true,                                                   \
      "One of several devices cannot be made quiet towards the others",                                      \
      "With several devices each one must stop writing to the others before any of them stops, or "          \
      "what one writes into a stopped one is lost. That is what the P2P states of VFIO are for: all "        \
      "devices enter theirs before the first is stopped. This device has none.",                             \
      "Where the devices do not talk to each other: --allow device-no-p2p, or --without-p2p.")               \
    X(FINDING_DEVICE_NO_PRECOPY, "device-no-precopy", NOTE, false,                                           \
      "All of the device's state is sent in the blackout",                                                   \
      "A device with the PRE_COPY states hands out most of its state while it still runs, and only "         \
      "the rest after it has stopped. This one has only STOP_COPY, or was registered not to use "            \
      "PRE_COPY, so its whole state belongs to the blackout.",                                               \
      "Nothing needs to be done where the state is small; check tells when it is not.")                      \
    X(FINDING_DEVICE_NO_TRACKER, "device-no-tracker", ERROR, false,                                          \
      "Nothing can say what this device writes",                                                             \
      "The device has no log of its own, and no dirty bits of an IOMMU cover it: a migration would lose "    \
      "its writes.",                                                                                         \
      "Give tracker all: then all memory is sent again in the blackout; or use a host whose IOMMU has "      \
      "dirty tracking, with a kernel that has iommufd.")                                                     \
    X(FINDING_DEVICE_NOT_FOUND, "device-not-found", ERROR, false,                                            \
      "This host has no such device",                                                                        \
      "Nothing in sysfs bears the address: the device is in another slot, hidden by a VMD, gone from the "   \
      "bus, or the mediated device was not created.",                                                        \
      "lspci -D lists PCI addresses, ls /sys/bus/mdev/devices mediated devices.")                            \
    X(FINDING_DEVICE_NOT_PROBED, "device-not-probed", NOTE, false,                                           \
      "The device was not asked what it can do",                                                             \
      "Whether a device can migrate, how large its state is and who tracks its writes is learned from its "  \
      "descriptor. It was not opened: because --no-probe said so, because its IOMMU group cannot be used, "  \
      "or because other devices had taken a minute already. What is shown is what sysfs says.",              \
      "Leave --no-probe out, or name this device alone: migctl devices ADDRESS.")                            \
    X(FINDING_DEVICE_NOT_RUNNING, "device-not-running", WARNING, false,                                      \
      "The device does not run",                                                                             \
      "The device is in another migration state than RUNNING, although no migration runs. Somebody "         \
      "stopped it: a VMM that is paused, a migration by other means, or a migd that was killed. After "      \
      "a migration it will run at the destination, and after a failed one it will run here.",                \
      "Find out who stopped it before you migrate; a paused workload is best resumed first.")                \
    X(FINDING_DEVICE_NOT_VFIO, "device-not-vfio", ERROR, false,                                              \
      "The device is not bound to a VFIO driver",                                                            \
      "Only a device that is bound to vfio-pci, to a vendor's variant of it, or to a driver of mediated "    \
      "devices can be opened by a VMM or by migd. While a driver of the host has it, it serves the host.",   \
      "driverctl set-override ADDRESS vfio-pci (a variant driver where the kernel has one, else it cannot "  \
      "migrate).")                                                                                           \
    X(FINDING_DEVICE_OPEN_FAILED, "device-open-failed", ERROR, false,                                        \
      "The driver of the device refuses to open it",                                                         \
      "The kernel has found the device and nobody else has it, but its driver answers with an error: it "    \
      "does not come out of its sleep, does not finish its reset, or wants a token of its physical "         \
      "function.",                                                                                           \
      "The kernel's log says why (dmesg). Mostly a reset of the device or of its bus helps, else a "         \
      "restart of the host.")                                                                                \
    X(FINDING_DEVICE_PLAIN_DRIVER, "device-plain-driver", ERROR, false,                                      \
      "The device is bound to plain vfio-pci, and the kernel has a variant driver for it",                   \
      "vfio-pci passes any PCI device through but knows nothing of what is inside it, so it cannot save "    \
      "its state. Vendors' variant drivers, such as mlx5_vfio_pci, can; each announces the devices that "    \
      "it is for in the kernel's list of module aliases (vfio_pci:...), and this device is among them.",     \
      "Give the device back, then bind the variant driver: driverctl set-override ADDRESS DRIVER. libvirt "  \
      "10.0 and later find it by themselves for a hostdev with managed='yes'.")                              \
    X(FINDING_DEVICE_PRECOPY_MISSING, "device-precopy-missing", ERROR, true,                                 \
      "The source's device saves while it runs, and the destination's cannot",                               \
      "With the migration flag PRE_COPY a device sends a part of its state while it still runs, and "        \
      "the rest once it stands still, in one stream. A driver without the flag was written for "             \
      "streams that begin with a device that stands still, and nobody has promised that it "                 \
      "understands the other kind: at best it refuses the state in the blackout, at worst it takes "         \
      "part of it.",                                                                                         \
      "Register the device at the source with no-precopy: all its state is sent in the blackout then. Or "   \
      "bring driver and firmware to the same version on both hosts; where the driver is known to load such " \
      "streams: --allow device-precopy-missing.")                                                            \
    X(FINDING_DEVICE_PROBE_FAILED, "device-probe-failed", WARNING, false,                                    \
      "The device could not be asked",                                                                       \
      "Nobody seems to have the device and it is bound to VFIO, yet opening it failed in the way that the "  \
      "sentence says. It would probably fail for a VMM too: a device that fell off the bus, a function "     \
      "that cannot wake, a virtual function whose physical function demands a token, or rights that migd "   \
      "lacks.",                                                                                              \
      "Look into the kernel's log for this address (journalctl -k), and try again.")                         \
    X(FINDING_DEVICE_REVISION_DIFFERS, "device-revision-differs", WARNING, false,                            \
      "The device has another revision at the destination",                                                  \
      "The PCI revision is part of what a guest's driver looks at, and a revision may change what the "      \
      "state holds. Drivers usually accept it and say so when they do not.",                                 \
      "Prefer hosts with the same revision and firmware; otherwise try it when the workload can stand "      \
      "a pause.")                                                                                            \
    X(FINDING_DEVICE_SILENT, "device-silent", ERROR, false,                                                  \
      "The device does not answer for its migration state",                                                  \
      "migd asked the device which migration state it is in and got an error or nothing within the "         \
      "device's timeout. A device that does not answer now will not answer in the blackout, where "          \
      "everybody waits for it.",                                                                             \
      "See whether its server hangs or its driver logs errors (dmesg); restart the server, or reset "        \
      "the device.")                                                                                         \
    X(FINDING_DEVICE_SINGLE_ONLY, "device-single-only", NOTE, false,                                         \
      "The device can migrate alone, not beside others",                                                     \
      "Several devices of one workload may write into each other. To stop them safely each must first "      \
      "reach a state in which it still takes such writes but sends none (P2P), and this device does not "    \
      "have it. A workload with this device as its only one migrates; with others it is refused unless "     \
      "the operator knows that they do not talk to each other.",                                             \
      "Nothing for a workload with one device. For others see device-no-p2p.")                               \
    X(FINDING_DEVICE_STATE_LARGE, "device-state-large", WARNING, false,                                      \
      "The device's state takes a large part of the downtime",                                               \
      "The device itself says how many bytes it will hand out once it is stopped "                           \
      "(VFIO_DEVICE_FEATURE_MIG_DATA_SIZE). At the bandwidth that is known or assumed this is more "         \
      "than half of what --max-downtime allows. PRE_COPY, where the device has it, makes the real "          \
      "figure smaller.",                                                                                     \
      "Allow a longer --max-downtime, use a faster link, or quiet the workload so that the device "          \
      "holds less.")                                                                                         \
    X(FINDING_DEVICE_STATE_SIZE_DIFFERS, "device-state-size-differs", NOTE, false,                           \
      "The device expects a state of another size at the destination",                                       \
      "The drivers of both hosts were asked how large the device's state would be. The answer depends "      \
      "on what the guest does with the device, so a difference is normal; a large one can mean that "        \
      "the two devices were set up with different resources.",                                               \
      "Nothing, if the devices have the same configuration (queues, VF resources).")                         \
    X(FINDING_DEVICE_SURPLUS, "device-surplus", ERROR, false,                                                \
      "The destination has a device that the source has not",                                                \
      "A device of the destination's domain would get no state and run from its reset state beside the "     \
      "others, which the workload does not know of.",                                                        \
      "Register the same devices on both sides.")                                                            \
    X(FINDING_DEVICE_UNMAPPED, "device-unmapped", WARNING, false,                                            \
      "migd does not know of any memory that the device sees",                                               \
      "The DMA address space of this device is empty as far as migd knows. A device that sees no "           \
      "memory cannot write any; but if the VMM has mapped memory for it without telling migd, the "          \
      "device's log is not asked for those ranges and its writes are not found.",                            \
      "Register the memory with its IOVAs (iova=), or tell migd of each mapping with Domain.Map.")           \
    X(FINDING_DEVICE_UNTRACKED, "device-untracked", ERROR, true,                                             \
      "Nothing tells which pages the device writes",                                                         \
      "The device was registered with tracker \"container\", so that a container of the domain says "        \
      "what it writes, but no container of the domain has a mapping that migd knows of. Whatever the "       \
      "device writes after a page was sent would be missing at the destination, without any sign "           \
      "before --verify or the workload finds it.",                                                           \
      "Tell migd what is mapped (iova= of the memory, or Domain.Map), or register the device with "          \
      "another tracker.")                                                                                    \
    X(FINDING_DEVICE_VIRTUAL_FUNCTIONS, "device-virtual-functions", NOTE, false,                             \
      "The virtual functions of this device could migrate",                                                  \
      "This is a physical function. What vendors let migrate are its virtual functions (SR-IOV), and the "   \
      "kernel has a variant driver for them.",                                                               \
      "Make virtual functions (sriov_numvfs in sysfs, or the vendor's tool), bind them to the variant "      \
      "driver and give those to workloads.")                                                                 \
    X(FINDING_DOMAIN_BROKEN, "domain-broken", ERROR, false,                                                  \
      "The domain is broken",                                                                                \
      "Something of the domain could not be brought back: a device after a failed change of state, a "       \
      "descriptor after a restart of migd, or a process that ended. migd does not migrate what it "          \
      "could not resume, since a migration that fails would leave a workload that runs nowhere. The "        \
      "domain's problem says what it was.",                                                                  \
      "Mend what the problem names, release the domain, and register it anew.")                              \
    X(FINDING_DOMAIN_BROKEN_AT_DESTINATION, "domain-broken-at-destination", ERROR, false,                    \
      "The domain at the destination is broken",                                                             \
      "The destination's migd could not bring a device or the VMM of this domain to a known state, so "      \
      "it takes no migration in. Its own words are in the sentence.",                                        \
      "Release it there and register it again: migctl release --force, migctl register --incoming.")         \
    X(FINDING_DOMAIN_BUSY, "domain-busy", ERROR, false,                                                      \
      "A call for the domain is still being worked on",                                                      \
      "Calls that talk to devices or map memory take a while, and while one runs the parts of the "          \
      "domain do not change hands. A migration can begin when it was answered.",                             \
      "Try again in a moment.")                                                                              \
    X(FINDING_DOMAIN_BUSY_AT_DESTINATION, "domain-busy-at-destination", ERROR, false,                        \
      "The domain at the destination is busy",                                                               \
      "Another migration, or a call that changes the domain, has it at the moment.",                         \
      "Wait for it to end, or cancel it there.")                                                             \
    X(FINDING_DOMAIN_DEPARTED, "domain-departed", ERROR, false,                                              \
      "The workload runs elsewhere",                                                                         \
      "A migration has taken this domain away, or the operator said so. What is registered here is "         \
      "what it left behind: exactly one side runs a workload, and it is not this one.",                      \
      "Migrate it from where it runs now; release the domain here, and register it with --incoming to "      \
      "get it back.")                                                                                        \
    X(FINDING_DOMAIN_IN_DOUBT, "domain-in-doubt", ERROR, false,                                              \
      "Nobody has decided yet which side runs the workload",                                                 \
      "The connection broke after the destination was prepared and before it heard the decision. It "        \
      "does not run until the source, or the operator, says who owns the workload, because both sides "      \
      "running it would be worse than none.",                                                                \
      "Restore the connection and migd decides by itself; else migctl resolve ID --run or --drop.")          \
    X(FINDING_DOMAIN_INCOMING, "domain-incoming", ERROR, false,                                              \
      "The domain waits for a migration to come in",                                                         \
      "A domain that was registered with --incoming is a destination: its memory and devices wait to "       \
      "be filled. It has nothing to send until a migration has arrived.",                                    \
      "Check and start on the host where the workload runs.")                                                \
    X(FINDING_DOMAIN_MIGRATING, "domain-migrating", ERROR, false,                                            \
      "The domain is being migrated already",                                                                \
      "A domain has at most one migration at a time, in one direction. Its devices, trackers and "           \
      "bitmaps belong to that one until it has ended, and they are not asked meanwhile.",                    \
      "Follow it with migctl monitor, or end it with migctl cancel.")                                        \
    X(FINDING_DOMAIN_NOT_INCOMING, "domain-not-incoming", ERROR, false,                                      \
      "The domain at the destination does not wait for a migration",                                         \
      "A domain takes a migration in only while its workload does not run there: it was registered as "      \
      "incoming, or it has departed from there. Otherwise two workloads would use the same devices and "     \
      "memory.",                                                                                             \
      "Register it there as incoming: migctl register NAME --incoming.")                                     \
    X(FINDING_DOMAIN_NOT_RESTORABLE, "domain-not-restorable", WARNING, false,                                \
      "A restart of migd would lose a part of the domain",                                                   \
      "migd saves of each domain what it needs to build it again. What has a path is opened again by it; a " \
      "descriptor of memory, a container or a device can only live on in the service manager's store, which "\
      "there is when migd runs as its unit. The workload is not harmed, but after a restart the domain is "  \
      "broken, and a migration that was running cannot be rolled back completely.",                          \
      "Run migd as the service that it is installed as, or give paths: path= of migctl register, \"origin\" of "\
      "Domain.AddMemory, socket= of a vfio-user device.")                                                    \
    X(FINDING_DOMAIN_UNKNOWN_AT_DESTINATION, "domain-unknown-at-destination", ERROR, false,                  \
      "The domain is not registered at the destination",                                                     \
      "The destination must have memory and devices ready before anything is sent, so the domain is "        \
      "registered there too, as incoming, under the same name or the one given with --peer-domain.",         \
      "Register it there first: migctl register NAME --incoming.")                                           \
    X(FINDING_DOMAIN_UNSAVED, "domain-unsaved", WARNING, false,                                              \
      "A restart of migd forgets the domain",                                                                \
      "The domain was registered not to be saved. When migd is restarted, by an upgrade or after a "         \
      "crash, nobody knows any more what it consisted of, and a migration that ran then cannot be "          \
      "rolled back by migd's successor.",                                                                    \
      "Register the domain again without \"saved\" false.")                                                  \
    X(FINDING_DOWNTIME_SHORT, "downtime-short", WARNING, false,                                              \
      "The allowed downtime is shorter than the steps of a switch-over are",                                 \
      "Pausing, three changes of state, the last read of the trackers and the answers of the peer "          \
      "take a few milliseconds whatever there is to send, and the estimate counts them with 5 ms at "        \
      "the least. With less than that allowed no round is ever good enough.",                                \
      "Allow a longer --max-downtime.")                                                                      \
    X(FINDING_GATE_OFF, "gate-off", WARNING, false,                                                          \
      "Nobody looks whether a device still writes after it was stopped",                                     \
      "The gate reads all trackers once more after everything was sent, and refuses when a device "          \
      "wrote although it should be quiet. With --gate off, and without --verify=strict, such pages "         \
      "are lost without any sign.",                                                                          \
      "Leave the gate at strict, or add --verify=strict.")                                                   \
    X(FINDING_GROUP_NO_IOMMU, "group-no-iommu", ERROR, false,                                                \
      "The group is in the unsafe mode without IOMMU",                                                       \
      "The kernel was told to hand out devices without an IOMMU (enable_unsafe_noiommu_mode). Such a "       \
      "device writes to physical addresses that its program chose, which no other host has, so there is "    \
      "nothing that could be moved.",                                                                        \
      "Turn the IOMMU on, in the firmware and on the kernel's command line, and leave "                      \
      "enable_unsafe_noiommu_mode off.")                                                                     \
    X(FINDING_GROUP_NOT_VIABLE, "group-not-viable", ERROR, false,                                            \
      "Drivers of the host have other devices of the same IOMMU group",                                      \
      "The devices of an IOMMU group cannot be kept apart by the IOMMU, so that the kernel gives either "    \
      "all of them or none to a VMM. Those that are named are still bound to drivers of the host.",          \
      "Bind the named devices to vfio-pci, too, or unbind them; or put the device into a slot that is "      \
      "isolated (PCIe ACS).")                                                                                \
    X(FINDING_GROUP_SHARED, "group-shared", NOTE, false,                                                     \
      "Several devices share the IOMMU group",                                                               \
      "They can only be given to one owner, together. A workload that has one of them has all of them, "     \
      "and each that is passed through has to be able to migrate.",                                          \
      "Give all of them to the same workload, or leave the others unused.")                                  \
    X(FINDING_HOLDER_GONE, "holder-gone", ERROR, false,                                                      \
      "The process that holds the device has ended",                                                         \
      "migd holds descriptors of the device, but the process that owned it, the VMM or driver, is "          \
      "gone. The kernel keeps the device and its mappings alive through migd's descriptors; there is "       \
      "no workload left that could be moved.",                                                               \
      "Start the workload again, release the domain and register it anew.")                                  \
    X(FINDING_HOST_HOLDERS_HIDDEN, "host-holders-hidden", NOTE, false,                                       \
      "Some processes could not be looked into",                                                             \
      "Who has a device is found by looking at the descriptors of all processes, which takes the right to "  \
      "trace them (CAP_SYS_PTRACE). A device that seems free may be held by one of those that migd may "     \
      "not look into; opening it finds it busy then.",                                                       \
      "Run migd with the rights that its unit file gives it.")                                               \
    X(FINDING_HOST_MEMORY_SHORT, "host-memory-short", WARNING, false,                                        \
      "migd may not get the memory that this migration needs on this host",                                  \
      "A proof (--verify), and a gate that cannot ask a tracker, keep a digest of 8 bytes for every "        \
      "page of 4 KiB: 2 GiB for a TiB. The kernel says (MemAvailable) that this much is not free now. "      \
      "migd would be slowed down by reclaim, or ended by the OOM killer.",                                   \
      "Free memory on this host, or go without --verify.")                                                   \
    X(FINDING_HOST_MODULES_UNKNOWN, "host-modules-unknown", NOTE, false,                                     \
      "The list of the kernel's modules could not be read",                                                  \
      "Which variant drivers the kernel has stands in modules.alias and modules.builtin.modinfo below "      \
      "/lib/modules. Neither could be read: the running kernel was updated away, has no modules, or the "    \
      "folder is hidden from migd. A device may have a variant driver that is not shown.",                   \
      "Install the modules of the running kernel, or restart into the kernel that is installed.")            \
    X(FINDING_HOST_NO_DEVICES, "host-no-devices", NOTE, false,                                               \
      "There is no device that could be listed",                                                             \
      "The list holds mediated devices and the PCI functions that are bound to VFIO, that are virtual "      \
      "functions, or that the kernel has a variant driver for. This host has none of these.",                \
      "migctl devices --all lists every function with an IOMMU group; bind one with driverctl "              \
      "set-override ADDRESS vfio-pci.")                                                                      \
    X(FINDING_HOST_NO_IOMMU, "host-no-iommu", ERROR, false,                                                  \
      "The host has no IOMMU in use",                                                                        \
      "There is no IOMMU group in sysfs. Without an IOMMU the kernel passes no PCI device through: it "      \
      "could not keep the device's DMA inside the memory of its workload. Mediated devices do without.",     \
      "Turn it on in the firmware (VT-d, AMD-Vi, SMMU) and on the kernel's command line (intel_iommu=on), "  \
      "and restart. A virtual machine needs a virtual IOMMU from its VMM.")                                  \
    X(FINDING_HOST_NO_IOMMUFD, "host-no-iommufd", WARNING, false,                                            \
      "The kernel has no iommufd",                                                                           \
      "/dev/iommu is the newer way to give memory to devices, and the only one that reads the dirty bits "   \
      "of the IOMMU. Without it nobody but a device's own log tells what a device writes, and some "         \
      "kernels without it do not hand out that log either. Migrations of hardware devices then send "        \
      "everything in the blackout.",                                                                         \
      "Run a kernel that is built with CONFIG_IOMMUFD and CONFIG_VFIO_DEVICE_CDEV (modprobe iommufd where "  \
      "it is a module).")                                                                                    \
    X(FINDING_HOST_NO_VFIO, "host-no-vfio", ERROR, false,                                                    \
      "The kernel has no VFIO",                                                                              \
      "Neither /dev/vfio nor the module vfio is there, so no device of this host can be passed through. "    \
      "The module may only not be loaded, or the kernel was built without it.",                              \
      "modprobe vfio-pci (and vfio_iommu_type1 where it is a module of its own). If there is no such "       \
      "module, install a kernel that has it.")                                                               \
    X(FINDING_IOMMU_MISSING, "iommu-missing", ERROR, false,                                                  \
      "The host has no IOMMU for this device",                                                               \
      "Without an IOMMU nothing translates or limits the DMA of the device: it cannot be given to a VMM "    \
      "safely, memory cannot be at the same address for it on two hosts, and nobody can say what it "        \
      "wrote.",                                                                                              \
      "Turn the IOMMU on in the firmware (VT-d, AMD-Vi, SMMU) and on the kernel's command line "             \
      "(intel_iommu=on), and restart the host.")                                                             \
    X(FINDING_IOMMU_NO_DIRTY_TRACKING, "iommu-no-dirty-tracking", ERROR, false,                              \
      "The IOMMU of this device has no dirty bits",                                                          \
      "Dirty tracking by the IOMMU takes hardware that has it (AMD with HDSUP, Intel VT-d with SSADS in "    \
      "scalable mode, Arm SMMUv3 with HTTU) and Linux 6.7 with iommufd. Of a mediated device the IOMMU "     \
      "sees nothing in any case.",                                                                           \
      "Leave dirty-tracking out, and track by the device's own log (tracker device) or by tracker all.")     \
    X(FINDING_IOMMU_NO_ISOLATION, "iommu-no-isolation", ERROR, false,                                        \
      "The kernel does not let the device go without isolation of interrupts",                               \
      "The platform cannot keep the device from raising arbitrary interrupts, so that whoever has it "       \
      "could attack the host. The kernel refuses, unless the administrator overrules it.",                   \
      "Turn on interrupt remapping in the firmware; or, where all workloads are trusted, "                   \
      "allow_unsafe_interrupts=1 of module vfio_iommu_type1 or iommufd.")                                    \
    X(FINDING_IOMMUFD_MISSING, "iommufd-missing", ERROR, false,                                              \
      "This kernel has no iommufd, or the device no node for it",                                            \
      "iommufd (/dev/iommu) came with Linux 6.2 and its devices (/dev/vfio/devices) with 6.6; kernels of "   \
      "Debian 12 and 13 are built without (CONFIG_IOMMUFD, CONFIG_VFIO_DEVICE_CDEV). Dirty bits of an "      \
      "IOMMU are to be had by iommufd only.",                                                                \
      "Open it with interface legacy, or leave the interface to migd; or load module iommufd, or use a "     \
      "kernel that has it.")                                                                                 \
    X(FINDING_LISTENER_OFF, "listener-off", WARNING, false,                                                  \
      "A destination in doubt cannot ask this side",                                                         \
      "When the connection breaks at the moment of the decision, the destination asks the source's "         \
      "migd which side owns the workload. This migd does not listen for peers, so nobody can ask it, "       \
      "and the operator would have to resolve it by hand.",                                                  \
      "Start migd with --listen, or set listen in migd.conf.")                                               \
    X(FINDING_MAPPING_REFUSED, "mapping-refused", ERROR, false,                                              \
      "The kernel does not map the memory for DMA",                                                          \
      "migd maps the memory of the domain for its devices, at the addresses it was registered with. The "    \
      "kernel refuses what lies outside of what the IOMMU can address, in a range that is reserved (for "    \
      "interrupts: 0xfee00000 on x86), or where something is mapped already.",                               \
      "Register the memory at other IOVAs, or in pieces around the reserved ranges.")                        \
    X(FINDING_MEMLOCK_EXCEEDED, "memlock-exceeded", ERROR, false,                                            \
      "migd may not pin so much memory",                                                                     \
      "Memory that a device can reach is pinned: it can neither be swapped nor moved. What migd maps "       \
      "(map-memory) counts as locked memory of migd, not of the VMM. The kernel refuses when that reaches "  \
      "migd's limit, unless migd has CAP_IPC_LOCK, which its unit gives it, and when the host has not "      \
      "enough memory.",                                                                                      \
      "Free memory on the host; give migd CAP_IPC_LOCK or LimitMEMLOCK=infinity where it runs without its "  \
      "unit; or let the VMM map by itself (without map-memory).")                                            \
    X(FINDING_MEMORY_CAN_SHRINK, "memory-can-shrink", NOTE, false,                                           \
      "Whoever has the memory's file can make it shorter under migd",                                        \
      "migd has the file mapped, and a page that is not there any more ends it by SIGBUS. A memfd "          \
      "that is sealed with F_SEAL_SHRINK cannot be made shorter; this one is not sealed, or is a file "      \
      "that cannot be.",                                                                                     \
      "Let the VMM seal its memfd (fcntl F_ADD_SEALS F_SEAL_SHRINK), or let migd make the memory "           \
      "(MakeMemory).")                                                                                       \
    X(FINDING_MEMORY_IOVAS_DIFFER, "memory-iovas-differ", ERROR, true,                                       \
      "The memory is mapped at other addresses for the devices at the destination",                          \
      "The device's state holds addresses as the device sees them (IOVAs). Where the destination maps "      \
      "the same memory at others, the device reads and writes the wrong memory as soon as it runs. "         \
      "Only addresses given at registration are compared; those that a VMM maps later are its own "          \
      "business.",                                                                                           \
      "Register the memory with the same iova on both sides. Where the VMM there maps it itself before "     \
      "it runs: --allow memory-iovas-differ.")                                                               \
    X(FINDING_MEMORY_LOW, "memory-low", WARNING, false,                                                      \
      "The destination has less free memory than the workload needs",                                        \
      "The pages of the workload will be written into memory of the destination, and MemAvailable in "       \
      "its /proc/meminfo is less than that. It may swap, or its OOM killer may end something.",              \
      "Free memory at the destination, or choose another host.")                                             \
    X(FINDING_MEMORY_MISSING, "memory-missing", ERROR, false,                                                \
      "A piece of memory of the source is missing at the destination",                                       \
      "Pages are written into the region of the same name; without it they have no place to go.",            \
      "Register it at the destination under the same name.")                                                 \
    X(FINDING_MEMORY_NO_SPACE, "memory-no-space", ERROR, true,                                               \
      "The file system behind the destination's memory has no room for it",                                  \
      "The memory is a file that does not have all its pages yet. When the file system is full, "            \
      "writing the next page fails, or kills the process that touches it. What the source has really "       \
      "allocated is compared with what is free.",                                                            \
      "Enlarge the file system (mount -o remount,size=), or free room. Where the rest of the memory is "     \
      "known to stay untouched: --allow memory-no-space.")                                                   \
    X(FINDING_MEMORY_NONE, "memory-none", ERROR, false,                                                      \
      "The domain has no memory",                                                                            \
      "A migration moves memory and device state. Without memory there is nothing that devices could "       \
      "have written, which means that the registration is not complete.",                                    \
      "Register its memory first: migctl register --memory, or Domain.AddMemory.")                           \
    X(FINDING_MEMORY_ON_DISK, "memory-on-disk", WARNING, false,                                              \
      "The memory is a file on a disk",                                                                      \
      "Pages of such a file come from the disk and are written back to it, so reading them can wait "        \
      "for the disk in the middle of the blackout. The kernel refuses to pin pages of most disk file "       \
      "systems for DMA, since write-back and DMA into the same page lose data.",                             \
      "Put guest memory into a memfd, or into a file on tmpfs or hugetlbfs.")                                \
    X(FINDING_MEMORY_PAGE_SIZE_DIFFERS, "memory-page-size-differs", WARNING, false,                          \
      "The memory is backed by pages of another size at the destination",                                    \
      "With smaller pages at the destination the workload may run slower there (more TLB misses); with "     \
      "larger ones every hole of the source becomes real memory, and a later migration back tracks "         \
      "writes in larger steps.",                                                                             \
      "Use the same page size on both sides: hugepages= at registration, or files on the same kind of "      \
      "file system.")                                                                                        \
    X(FINDING_MEMORY_READ_ONLY, "memory-read-only", NOTE, false,                                             \
      "The memory is sent once and never again",                                                             \
      "It was registered as read-only: no device and no tracker counts it as written, so it travels "        \
      "in the first round alone. That is right for ROMs and wrong for anything that changes while the "      \
      "migration runs.",                                                                                     \
      "Nothing, where it is a ROM; else register it without read-only.")                                     \
    X(FINDING_MEMORY_READ_ONLY_AT_DESTINATION, "memory-read-only-at-destination", ERROR, false,              \
      "The memory is registered read-only at the destination",                                               \
      "Pages that arrive are written into it, and migd was given the memory there without the right to "     \
      "write.",                                                                                              \
      "Register it at the destination without read-only.")                                                   \
    X(FINDING_MEMORY_SIZE_DIFFERS, "memory-size-differs", ERROR, false,                                      \
      "The memory has another size at the destination",                                                      \
      "A page keeps its offset in its region, so both sides must have the same number of pages.",            \
      "Register it with the same size on both sides.")                                                       \
    X(FINDING_MEMORY_SURPLUS, "memory-surplus", ERROR, false,                                                \
      "The destination has memory that the source has not",                                                  \
      "A region of the destination's domain would keep whatever is in it, and the devices there would "      \
      "see memory that the workload does not know of.",                                                      \
      "Register the same memory on both sides.")                                                             \
    X(FINDING_MEMORY_TRUNCATED, "memory-truncated", ERROR, false,                                            \
      "The file of the memory is shorter than the memory",                                                   \
      "Somebody has made the file shorter since it was registered. Reading pages beyond its end kills "      \
      "the reader by SIGBUS, and that would be migd with all its domains.",                                  \
      "Find out who truncated it; release the domain and register it with the memory that it has.")          \
    X(FINDING_MEMORY_UNMAPPED, "memory-unmapped", NOTE, false,                                               \
      "No device sees the memory",                                                                           \
      "The memory belongs to the domain, but no device and no container has it mapped as far as migd "       \
      "knows. It is sent like any other. If a device does see it, migd was not told where, and what "        \
      "the device writes there is not found.",                                                               \
      "Give its IOVAs (iova=) or tell migd of the mapping (Domain.Map), if a device sees it.")               \
    X(FINDING_MIGD_DESCRIPTORS, "migd-descriptors", ERROR, false,                                            \
      "migd may not open as many files as this migration needs",                                             \
      "Every connection, device stream and record is a descriptor, and a process may have only so "          \
      "many (RLIMIT_NOFILE). What is free now is less than what this migration opens.",                      \
      "Raise LimitNOFILE= of migd.service, use fewer --connections, or release domains that are not "        \
      "needed.")                                                                                             \
    X(FINDING_OVERRIDES_NOT_ACCEPTED, "overrides-not-accepted", WARNING, false,                              \
      "The destination's configuration accepts no overrides",                                                \
      "AcceptOverrides=no in migd.conf of the destination: what --allow was given for counts there as "      \
      "if it had not been given.",                                                                           \
      "Remove the reason, or have the destination's administrator set AcceptOverrides=yes in section "       \
      "[Peer].")                                                                                             \
    X(FINDING_PAGE_SIZE_DIFFERS, "page-size-differs", ERROR, false,                                          \
      "The two daemons count memory in pages of different sizes",                                            \
      "The unit of the bitmaps and of the wire is 4 KiB in every version of migd so far; this peer "         \
      "says another.",                                                                                       \
      "Install the same version of migd on both hosts.")                                                     \
    X(FINDING_PEER_BREAKS_PROTOCOL, "peer-breaks-protocol", ERROR, false,                                    \
      "The destination answers, but not as migd does",                                                       \
      "What came back is no answer to a HELLO of migd's protocol. Something else listens at that "           \
      "address, or something on the way changes the bytes.",                                                 \
      "Check the address and the port, and that nothing but migd listens there.")                            \
    X(FINDING_PEER_FINDINGS_CUT, "peer-findings-cut", WARNING, false,                                        \
      "The destination found more than it could tell",                                                       \
      "An answer holds a limited number of findings; the errors come first.",                                \
      "Mend what is told, and check again.")                                                                 \
    X(FINDING_PEER_NO_ANSWER, "peer-no-answer", ERROR, false,                                                \
      "The destination accepts connections, but gives no answer",                                            \
      "The connection was opened and then nothing came within ten seconds, or it was closed. The "           \
      "daemon there may hang or be overloaded, or a proxy accepts in its place.",                            \
      "Look at migd's log on that host.")                                                                    \
    X(FINDING_PEER_REFUSES, "peer-refuses", ERROR, false,                                                    \
      "The destination refuses to be asked",                                                                 \
      "The destination understood the question and answered with an error of its own: its words are in "     \
      "the sentence.",                                                                                       \
      "Follow what the destination says; its log has more.")                                                 \
    X(FINDING_PEER_TOO_OLD, "peer-too-old", WARNING, false,                                                  \
      "The destination is too old to be asked",                                                              \
      "Its migd knows no question without a migration, so nothing of what is there could be compared. "      \
      "A migration to it is still possible: it compares memory, device ids and versions when the "           \
      "migration begins, and refuses before anything is touched.",                                           \
      "Upgrade migd at the destination.")                                                                    \
    X(FINDING_PEER_UNREACHABLE, "peer-unreachable", ERROR, false,                                            \
      "The destination cannot be reached",                                                                   \
      "No connection came about: the name has no address, there is no route, a firewall drops or "           \
      "rejects, or nobody listens.",                                                                         \
      "Check the address and the port, that migd runs there with a listener (Listen= in its "                \
      "migd.conf), and the firewalls between the hosts.")                                                    \
    X(FINDING_PROTOCOL_VERSIONS, "protocol-versions", ERROR, false,                                          \
      "The two daemons have no protocol version in common",                                                  \
      "Each migd speaks its own version of the protocol and the one before it.",                             \
      "Bring both hosts to versions that are at most one protocol apart.")                                   \
    X(FINDING_RUNTIME_DIR, "runtime-dir", ERROR, false,                                                      \
      "Nothing can be written into migd's runtime directory",                                                \
      "A migration writes down each decision (RUNTIME_DIR/migrations) before it acts on it, so that a "      \
      "migd that was killed finds what it must undo and never lets both sides run. migd tried to "           \
      "write a small file there and failed. Without records no migration is begun.",                         \
      "Make room or mend the permissions of the runtime directory (/run/migd unless configured "             \
      "otherwise).")                                                                                         \
    X(FINDING_TLS_CREDENTIALS, "tls-credentials", ERROR, false,                                              \
      "This host cannot show itself to a peer: its certificate or key is not usable",                        \
      "Between hosts migd speaks TLS with certificates of both sides, unless Security=plain. It needs the "  \
      "CA's certificate, its own, and its key, under the names of QEMU (ca-cert.pem, server-cert.pem, "      \
      "server-key.pem) or of libvirt (CA/cacert.pem, libvirt/servercert.pem, "                               \
      "libvirt/private/serverkey.pem), in /etc/migd/tls, /etc/pki/qemu or /etc/pki/libvirt. One of them is " \
      "missing, cannot be read, does not belong to the other, or is not good today.",                        \
      "Mend what the sentence names, then systemctl reload migd. make-test-ca makes a CA and certificates "  \
      "for trying it out.")                                                                                  \
    X(FINDING_TLS_ONE_SIDED, "tls-one-sided", ERROR, false,                                                  \
      "One of the two hosts takes TLS and the other does not",                                               \
      "Plain text is spoken only where the configurations of both hosts say so: neither side falls back to " \
      "it. Here one of them says Security=plain and the other Security=tls, or has no certificate to show.", \
      "Set Security=tls on both hosts; or plain on both, where the network between them is trusted.")        \
    X(FINDING_TLS_PEER_UNTRUSTED, "tls-peer-untrusted", ERROR, false,                                        \
      "The certificate of the destination is refused here",                                                  \
      "Whoever answered at that address could not show that it is the host that was asked for: its "         \
      "certificate is for other names, is not signed by the CA that this host believes, has expired or is "  \
      "not valid yet. That is a mistake in the certificates or the clocks, or somebody in between.",         \
      "Ask for the host by a name that its certificate has, or give it a certificate with that name; let "   \
      "both hosts have one CA; look at the clocks.")                                                         \
    X(FINDING_TLS_REFUSED_BY_PEER, "tls-refused-by-peer", ERROR, false,                                      \
      "The destination refuses the certificate of this host",                                                \
      "The destination believes another CA, finds this host's certificate expired by its clock, or does not "\
      "have this host among its AllowedPeers. Its words are in the sentence, its log has more.",             \
      "Let both hosts have one CA, renew the certificate, or add this host to AllowedPeers= there.")         \
    X(FINDING_TRACKER_ALL, "tracker-all", WARNING, false,                                                    \
      "Everything that a tracker covers is sent again in the blackout",                                      \
      "A tracker of kind \"all\" knows nothing and says that everything was written, whenever it is "        \
      "asked. Rounds do not make that less. It is right, and the only way, for a device or a process "       \
      "whose writes nobody can follow; its price is a blackout that is as long as its memory needs on "      \
      "the link. Holes and zero pages cost nothing.",                                                        \
      "Use the device's log, an iommufd with dirty tracking, a cpu-log or uffd where one of them is "        \
      "possible.")                                                                                           \
    X(FINDING_TRACKER_COARSE, "tracker-coarse", WARNING, false,                                              \
      "One bit of a tracker stands for more than 4 KiB",                                                     \
      "A tracker reports in units that its source chooses. When a unit is larger than a page, a write "      \
      "of one byte has all of the unit sent again; migd shows the factor as amplification when it "          \
      "verifies. Devices may pick another unit for their log than was asked for.",                           \
      "Ask for a smaller unit (log-page-size=), where the device can; else allow for the longer "            \
      "blackout.")                                                                                           \
    X(FINDING_TRACKER_READS_MEMORY, "tracker-reads-memory", WARNING, false,                                  \
      "A tracker reads all memory in the blackout",                                                          \
      "Trackers of the kinds \"digests\" and \"soft-dirty\" find what was written by comparing memory with "  \
      "digests of what was sent. That loses nothing, and finds what devices and other processes wrote too. " \
      "Its price is that all of the memory is read while the workload stands still, by \"digests\" in each "  \
      "round besides, that pages are copied before they are sent, and 8 bytes for each page of 4 KiB.",      \
      "Where the kernel is 6.7 or newer and migd may trace the VMM, a userfaultfd (uffd) costs none of "     \
      "this: the journal says why it was not taken.")                                                        \
    X(FINDING_TRACKER_REFUSED, "tracker-refused", ERROR, false,                                              \
      "A tracker cannot be started",                                                                         \
      "migd started every tracker for a moment, as a migration does before it reads the first page, "        \
      "and this one failed. For a userfaultfd: PAGEMAP_SCAN needs Linux 6.7, the workload must have "        \
      "made the userfaultfd itself with UFFD_FEATURE_WP_ASYNC, and it must still run and have the "          \
      "memory mapped where it said.",                                                                        \
      "Do what the sentence says, or register another kind of tracker.")                                     \
    X(FINDING_TRACKERS_MISSING_AT_DESTINATION, "trackers-missing-at-destination", NOTE, false,               \
      "The destination has nothing that tracks writes",                                                      \
      "This migration does not need it, but the next one, from there to somewhere else, does: without "      \
      "a dirty tracker all memory is sent again in the blackout.",                                           \
      "Register the domain there with the trackers that it has here, where that host's devices or "          \
      "IOMMU can do it.")                                                                                    \
    X(FINDING_TRANSPORT_PLAIN, "transport-plain", WARNING, false,                                            \
      "Memory and device state travel over the network in plain text",                                       \
      "The configuration of this host says Security=plain: the connection to the peer is TCP without TLS. "  \
      "Everybody on the way can read the guest's memory, and whoever can reach the peer's port can pretend " \
      "to be the other side.",                                                                               \
      "Set Security=tls on both hosts, unless the network between them is trusted and separate.")         \
    X(FINDING_VERSION_DIFFERS, "version-differs", NOTE, false,                                               \
      "The two hosts run different versions of migd",                                                        \
      "They have a protocol in common, so a migration works; what one of them does not know is left "        \
      "out.",                                                                                                \
      "Nothing; upgrade the older one when it suits.")                                                       \
    X(FINDING_VFIO_MISSING, "vfio-missing", ERROR, false,                                                    \
      "The kernel does not offer VFIO in this way",                                                          \
      "A node below /dev/vfio is missing or does not answer: the modules vfio, vfio_iommu_type1 and "        \
      "vfio-pci are not loaded, the kernel was built without them, or /dev is not the host's.",              \
      "modprobe vfio-pci vfio_iommu_type1, and see that the service sees /dev/vfio (DeviceAllow=).")         \
    X(FINDING_VFIO_NOT_ALLOWED, "vfio-not-allowed", ERROR, false,                                            \
      "migd may not open the nodes of VFIO",                                                                 \
      "The nodes below /dev/vfio and /dev/iommu belong to root unless somebody said otherwise, and the "     \
      "service may only open the devices that its unit allows.",                                             \
      "Give the user or group of migd access to /dev/vfio and /dev/iommu (a udev rule), and look at "        \
      "DeviceAllow= in its unit.")                                                                           \
    X(FINDING_VM_BUSY, "vm-busy", ERROR, false,                                                              \
      "libvirt does something else with this domain",                                                        \
      "libvirt has one long job for a domain at a time: a migration, a save, a backup, a dump. Another "     \
      "one is refused while it runs, whoever began it.",                                                     \
      "Wait for it, or end it: virsh domjobinfo NAME, virsh domjobabort NAME.")                              \
    X(FINDING_VM_CPU_DIFFERS, "vm-cpu-differs", ERROR, true,                                                 \
      "The destination's CPU lacks what the guest has been given",                                           \
      "A guest keeps the CPU that it was started with. The libvirt of the destination compared that CPU"     \
      " with what its own host and QEMU can offer and said that something is missing: the guest would "      \
      "not be started there, or would meet an instruction that does not exist. With host-passthrough, "      \
      "whatever the two hosts differ in is a difference for the guest.",                                     \
      "Start the guest with a CPU model that all hosts have (mode='custom'), or choose another "             \
      "destination.")                                                                                        \
    X(FINDING_VM_DEFINITION_STAYS, "vm-definition-stays", NOTE, false,                                       \
      "What libvirt keeps of the domain differs between the two hosts afterwards",                           \
      "A persistent domain has a definition on disk beside the running guest. Unless it is asked for, a"     \
      " migration leaves that definition at the source, where it can be started a second time by "           \
      "mistake, and the guest at the destination is transient: it is gone there when it is shut off.",       \
      "migctl start --persistent --undefine-source moves the definition as well.")                           \
    X(FINDING_VM_DESTINATION_UNREACHABLE, "vm-destination-unreachable", ERROR, false,                        \
      "The libvirt of the destination does not answer",                                                      \
      "With engine=libvirt the libvirt of this host connects to the one of the destination by the "          \
      "address that DestinationUri= makes of the host's name, and so does migd, for its check and to let "   \
      "the guest run there. TLS wants certificates in /etc/pki/CA and /etc/pki/libvirt on both hosts and "   \
      "a listening libvirtd-tls.socket or virtproxyd-tls.socket at the destination.",                        \
      "Try virsh -c URI list as root on this host; migctl config Libvirt shows what the URI is made "        \
      "from.")                                                                                               \
    X(FINDING_VM_DEVICE, "vm-device", ERROR, true,                                                           \
      "The guest has a device of the host, which QEMU may not be able to move",                              \
      "With engine=libvirt QEMU moves everything, devices of the host included: PCI functions and "          \
      "mediated devices whose driver can migrate, from QEMU 8.1 on. USB and SCSI devices cannot be "         \
      "moved. Whether this device's driver can is told by migctl devices, and in the end by QEMU, which"     \
      " refuses before anything is lost. At the destination libvirt's hook of migd chooses the device "      \
      "that takes its place.",                                                                               \
      "See migctl devices; take a device that cannot move away from the guest first (virsh "                 \
      "detach-device).")                                                                                     \
    X(FINDING_VM_DISK_CACHE, "vm-disk-cache", WARNING, false,                                                \
      "A disk is cached by the host",                                                                        \
      "With cache=writeback, writethrough or the default, data of the disk are in this host's page "         \
      "cache, and the destination may have old ones in its own. QEMU drops them at the switch-over "         \
      "where it knows how, which older ones do not.",                                                        \
      "cache='none' in the <driver> of the disk is right for a guest that migrates.")                        \
    X(FINDING_VM_DISK_LOCAL, "vm-disk-local", ERROR, true,                                                   \
      "A disk lies in a file system of this host alone",                                                     \
      "A migration moves memory and devices, not disks: the destination opens the same path. A file on "     \
      "a file system that is not shared is another file there, or none, and a guest on another disk "        \
      "than its own is destroyed. libvirt refuses it too, until it is told that it is safe.",                \
      "Put the disk on shared storage (NFS, a cluster file system, iSCSI, Ceph). --allow vm-disk-local "     \
      "where the file is the same on both hosts by other means.")                                            \
    X(FINDING_VM_EXISTS, "vm-exists", ERROR, false,                                                          \
      "The destination has a domain of this name or UUID already",                                           \
      "The guest may run once only: a domain with the same UUID that is active at the destination is "       \
      "the same guest. Another domain of the same name is in the way until one of them is renamed.",         \
      "Look at it with virsh at the destination; --peer-domain NAME gives the guest another name there.")    \
    X(FINDING_VM_MACHINE_MISSING, "vm-machine-missing", ERROR, false,                                        \
      "The destination's QEMU has not this machine type, architecture or accelerator",                       \
      "A guest keeps the machine that it was started with: chipset, its version, and whether KVM runs "      \
      "it. The libvirt of the destination has been asked for exactly this one and does not have it, "        \
      "mostly because QEMU is older there.",                                                                 \
      "Give the destination a QEMU that is at least as new as here; see virsh domcapabilities there.")       \
    X(FINDING_VM_MEMORY_SHORT, "vm-memory-short", WARNING, false,                                            \
      "The destination has less free memory than the guest has",                                             \
      "What is free now may become more, since the kernel gives up caches; but a guest that does not "       \
      "fit into the memory of its host is killed or swapped.",                                               \
      "Choose another destination, or make room there.")                                                     \
    X(FINDING_VM_NAME_TOO_LONG, "vm-name-too-long", ERROR, false,                                            \
      "The name of the domain is longer than a migration's may be",                                          \
      "libvirt's names have no limit that matters; those of migd's objects and records have 63 "             \
      "characters.",                                                                                         \
      "virsh domrename gives a domain that is shut off a shorter name.")                                     \
    X(FINDING_VM_NOT_RUNNING, "vm-not-running", ERROR, false,                                                \
      "The domain does not run",                                                                             \
      "There is nothing to move live: a domain that is shut off, crashed or being shut down has no "         \
      "guest, and its definition is copied by virsh dumpxml and virsh define.",                              \
      "Start it first, or copy its definition.")                                                             \
    X(FINDING_VM_OPTION_UNSUPPORTED, "vm-option-unsupported", ERROR, false,                                  \
      "An option is one of migd's own engine, which QEMU does not have",                                     \
      "With engine=libvirt QEMU moves memory and devices. The gate, the proof of pages, checksums and "      \
      "migd's packing are parts of migd's own transfer, and an option that does nothing is worse than "      \
      "none.",                                                                                               \
      "Leave the option out.")                                                                               \
    X(FINDING_VM_PAUSED, "vm-paused", NOTE, false,                                                           \
      "The guest is paused, and will be at the destination",                                                 \
      "A guest that somebody has paused is moved as it is: nothing runs at the source, and nothing at "      \
      "the destination until it is resumed.",                                                                \
      "virsh resume NAME at the destination, or here before the migration.")                                 \
    X(FINDING_VM_QEMU_OLDER, "vm-qemu-older", WARNING, false,                                                \
      "The destination's QEMU is older than this host's",                                                    \
      "QEMU promises that a guest moves to a newer QEMU. To an older one it works as long as the "           \
      "machine type is known there and nothing of the device state is new.",                                 \
      "Bring the destination up to date first.")                                                             \
    X(FINDING_VM_SAME_HOST, "vm-same-host", ERROR, false,                                                    \
      "The destination is this host",                                                                        \
      "The two libvirts say the same UUID of the host. Either the name leads here, or two hosts were "       \
      "cloned with one UUID, which libvirt takes for one host.",                                             \
      "Look where the name leads; host_uuid in libvirtd.conf tells cloned hosts apart.")                     \
    X(FINDING_VM_TCG_LOSES_WRITES, "vm-tcg-loses-writes", WARNING, false,                                    \
      "This QEMU loses pages of a guest without KVM when it moves it",                                       \
      "Before 9.0, QEMU did not tell the CPUs that it computes itself (TCG) when it had read and cleared "   \
      "the dirty bits of memory: they go on writing pages that they know as dirty, and those writes are in " \
      "no pass. About one live migration in three was seen to end with old pages, or a guest that hangs. "   \
      "Guests with KVM have no such trouble, nor has migd's own engine, which has its own trackers.",        \
      "--engine native, a QEMU from 9.0 on (Debian 12 has one in its backports), or virsh suspend before.")
/* clang-format on */

enum finding_severity { FINDING_NOTE, FINDING_WARNING, FINDING_ERROR };

enum finding_code {
#define X(symbol, code, severity, waivable, title, story, remedy) symbol,
    MIGD_FINDING_TABLE(X)
#undef X
        FINDING_CODE_MAX,
};
