"""Kernel names and oneDNN lines of real programs, sorted by the unit that ran them."""

import pytest

from rtxbench.diagnosis.kernels import classify_kernel, kernel_shares, onednn_shares, parse_onednn


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT", "matrix"),
        (
            "sm80_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize128x128x32_stage4_warpsize2x2x1_tensor16x8x16_kernel",
            "matrix",
        ),
        ("sm86_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4", "matrix"),
        ("ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_nn", "matrix"),
        ("ampere_bf16_s16816gemm_bf16_256x128_ldg8_relu_f2f_stages_64x3_tn", "matrix"),
        ("volta_fp16_s884gemm_fp16_128x128_ldg8_f2f_nn", "matrix"),
        ("turing_h1688cudnn_256x128_ldg8_relu_exp_small_nhwc_tn_v1", "matrix"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x256_32x3_nn_align8>", "matrix"),
        ("void cutlass__5x_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_128x128_16x4_nhwc>", "matrix"),
        ("pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128, 128, 4>>", "matrix"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7", "matrix"),
        ("gemm_fusion_dot_412", "matrix"),
        ("ampere_sgemm_128x64_nn", "vector"),
        ("void cutlass::Kernel2<cutlass_80_simt_sgemm_128x128_8x4_nt_align1>", "vector"),
        ("sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize64x64x8_stage3_warpsize1x4x1_ffma_aligna4_alignc4", "vector"),
        ("ampere_scudnn_128x64_relu_interior_nn_v1", "vector"),
        ("void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4>", "vector"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "communication"),
        ("MemcpyH2D", "copy"),
        ("Memset 0", "copy"),
        ("loop_add_fusion_12", "other"),
        ("void tensorflow::functor::BiasNHWCKernel<float>", "other"),
        ("void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>", "other"),
        ("input_reduce_fusion_3", "other"),
    ],
)
def test_nvidia_kernel_names(name, kind):
    """Names as the libraries give them: cuBLASLt, cuDNN, CUTLASS, Triton, NCCL, XLA, PyTorch."""
    assert classify_kernel(name) == kind


def test_a_triton_product_in_strict_float32_is_no_matrix_work():
    """The same name means CUDA cores when the operands are float32 and TF32 is off."""
    assert classify_kernel("gemm_fusion_dot_412", "float32") == "vector"


def test_shares_are_of_time_and_labelled_inferred():
    """Three quarters of the time in a Tensor Core product is 0.75, however many kernels ran."""
    shares = kernel_shares([("nvjet_hsh_x", 3e-3), *[("loop_add_fusion", 1e-5)] * 100])
    assert shares.matrix_ratio == pytest.approx(0.75)
    assert shares.kernels == 101
    assert "inferred" in shares.how
    assert kernel_shares([]) is None


AMX = (
    "onednn_verbose,v1,primitive,exec,cpu,matmul,brg_matmul:avx512_core_amx,undef,"
    "src:bf16::blocked:ab::f0 wei:bf16::blocked:ab::f0 dst:bf16::blocked:ab::f0,,,512x4096:4096x4096,6.0"
)
PLAIN = (
    "onednn_verbose,v1,primitive,exec,cpu,inner_product,x64:gemm:jit,forward_training,"
    "src:f32::blocked:ab::f0 wei:f32::blocked:ba::f0 dst:f32::blocked:ab::f0,,,mb512ic784oc512,3.0"
)
REORDER = (
    "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,src:f32::blocked:abcd::f0 "
    "dst:bf16::blocked:acdb::f0,,,8x3x224x224,0.5"
)
REFERENCE = (
    "onednn_verbose,exec,cpu,convolution,ref:any,forward,src_f16::blocked:acdb:f0 wei_f16::blocked:cdba:f0,,,x,0.5"
)
GEMM = "onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_f32::blocked:ab:f0 wei_f32::blocked:ba:f0,,,512x10,0.0"
INFO = "onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost"


def test_onednn_lines_of_both_formats():
    """OneDNN 2 and 3 write different prefixes; information lines and other output are passed over."""
    calls = parse_onednn([INFO, "hello", AMX, PLAIN, REORDER, REFERENCE, GEMM, AMX[:60]])
    assert [call.kind for call in calls] == ["matrix", "float32", "reorder", "reference", "float32"]
    assert calls[0].implementation == "brg_matmul:avx512_core_amx"
    assert calls[0].duration_s == pytest.approx(6e-3)


def test_onednn_shares_prove_amx():
    """Share of oneDNN's own time by unit."""
    shares = onednn_shares(parse_onednn([AMX, PLAIN, REORDER, REFERENCE]))
    assert shares == {
        "matrix": pytest.approx(0.6),
        "float32": pytest.approx(0.3),
        "reorder": pytest.approx(0.05),
        "reference": pytest.approx(0.05),
    }
    assert onednn_shares([]) == {}
