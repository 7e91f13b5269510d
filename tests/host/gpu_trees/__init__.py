"""Files of GPUs as Linux's drivers show them, in the formats of their documentation and of published trees.

``RX_7800_XT``: uevent, pp_dpm_mclk, power1_cap_max and unique_id's form as in the test data of the crate amdgpu-sysfs;
``PHOENIX``: an APU (Ryzen 7840U); ``ARC_B580``: xe of Linux 6.14; ``UHD_770``: i915 of Linux 6.8.
"""

from __future__ import annotations


def card(number: int, slot: str, vendor: str, product: str, driver: str, files: dict[str, str]) -> dict[str, str]:
    """The files of one card; a path without ``device/`` in front is the card's own folder's."""
    folder = f"/sys/class/drm/card{number}"
    return {
        f"{folder}/device/vendor": f"0x{vendor}\n",
        f"{folder}/device/uevent": f"DRIVER={driver}\nPCI_CLASS=30000\nPCI_ID={vendor.upper()}:{product.upper()}\n"
        f"PCI_SUBSYS_ID=1002:0E37\nPCI_SLOT_NAME={slot}\n",
        f"{folder}-DP-1/status": "connected\n",
        **{f"{folder}/{path}": text for path, text in files.items()},
    }


RX_7800_XT = {
    "device/revision": "0xc8\n",
    "device/unique_id": "7a4ec33a72d1f3b5\n",
    "device/gpu_busy_percent": "97\n",
    "device/mem_busy_percent": "41\n",
    "device/mem_info_vram_total": "17163091968\n",
    "device/mem_info_vram_used": "1073741824\n",
    "device/pp_dpm_sclk": "0: 500Mhz \n1: 2254Mhz *\n2: 2565Mhz \n",
    "device/pp_dpm_mclk": "0: 96Mhz *\n1: 456Mhz \n2: 772Mhz \n3: 1218Mhz \n",
    "device/current_link_speed": "16.0 GT/s PCIe\n",
    "device/current_link_width": "16\n",
    "device/max_link_speed": "16.0 GT/s PCIe\n",
    "device/max_link_width": "16\n",
    "device/numa_node": "-1\n",
    "device/hwmon/hwmon4/name": "amdgpu\n",
    "device/hwmon/hwmon4/in0_label": "vddgfx\n",
    "device/hwmon/hwmon4/freq1_label": "sclk\n",
    "device/hwmon/hwmon4/freq1_input": "2254000000\n",
    "device/hwmon/hwmon4/freq2_input": "96000000\n",
    "device/hwmon/hwmon4/power1_average": "201000000\n",
    "device/hwmon/hwmon4/power1_cap": "212000000\n",
    "device/hwmon/hwmon4/power1_cap_default": "212000000\n",
    "device/hwmon/hwmon4/power1_cap_max": "243000000\n",
    "device/hwmon/hwmon4/power1_cap_min": "0\n",
    "device/hwmon/hwmon4/temp1_input": "54000\n",
    "device/hwmon/hwmon4/temp1_label": "edge\n",
}
PHOENIX = {
    "device/revision": "0xc2\n",
    "device/gpu_busy_percent": "3\n",
    "device/mem_info_vram_total": "4294967296\n",
    "device/mem_info_vram_used": "312345678\n",
    "device/pp_dpm_sclk": "0: 200Mhz *\n1: 400Mhz \n2: 2700Mhz \n",
    "device/current_link_speed": "16.0 GT/s PCIe\n",
    "device/current_link_width": "16\n",
    "device/hwmon/hwmon2/in1_label": "vddnb\n",
    "device/hwmon/hwmon2/freq1_input": "800000000\n",
    "device/hwmon/hwmon2/power1_input": "9012000\n",
    "device/hwmon/hwmon2/temp1_input": "47000\n",
}
ARC_B580 = {
    "device/tile0/physical_vram_size_bytes": "12884901888\n",
    "device/tile0/gt0/freq0/act_freq": "2850\n",
    "device/tile0/gt0/freq0/rp0_freq": "2850\n",
    "device/tile0/gt0/freq0/throttle/status": "1\n",
    "device/tile0/gt0/freq0/throttle/reason_pl1": "1\n",
    "device/tile0/gt0/freq0/throttle/reason_thermal": "0\n",
    "device/tile0/gt0/gtidle/idle_residency_ms": "1000\n",
    "device/current_link_speed": "16.0 GT/s PCIe\n",
    "device/current_link_width": "8\n",
    "device/max_link_speed": "16.0 GT/s PCIe\n",
    "device/max_link_width": "8\n",
    "device/numa_node": "0\n",
    "device/hwmon/hwmon5/name": "xe\n",
    "device/hwmon/hwmon5/energy1_input": "5000000\n",
    "device/hwmon/hwmon5/power1_max": "190000000\n",
    "device/hwmon/hwmon5/temp2_input": "61000\n",
}
UHD_770 = {
    "gt/gt0/rps_act_freq_mhz": "300\n",
    "gt/gt0/rps_RP0_freq_mhz": "1550\n",
    "gt/gt0/rc6_residency_ms": "90000\n",
    "gt/gt0/throttle_reason_status": "0\n",
    "gt/gt0/throttle_reason_pl1": "0\n",
}
AMDGPU_IDS = "# List of AMDGPU IDs\n1.0.0\n747E,\tC8,\tAMD Radeon RX 7800 XT\n15BF,\tC2,\tAMD Radeon 780M Graphics\n"
PCI_IDS = (
    "# List of PCI IDs\n1002  Advanced Micro Devices, Inc. [AMD/ATI]\n\t747e  Navi 32 [Radeon RX 7800 XT]\n"
    "8086  Intel Corporation\n\t4680  AlderLake-S GT1 [UHD Graphics 770]\n\t\t1028 0b10  a subsystem\n"
    "\te20b  Battlemage G21 [Arc B580]\nffff  Illegal Vendor ID\n"
)
KFD = {
    "/sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\nsimd_count 0\ngfx_target_version 0\n"
    "location_id 0\ndomain 0\n",
    "/sys/class/kfd/kfd/topology/nodes/1/properties": "cpu_cores_count 0\nsimd_count 120\ngfx_target_version 110001\n"
    "vendor_id 4098\ndevice_id 29822\nlocation_id 12032\ndomain 0\nunique_id 8813196176612520885\n",
}
