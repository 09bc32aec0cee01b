// Batch norm by the statistics of all ranks' batches: "MegDet", Peng et al. 2018; torch.nn.SyncBatchNorm.
#pragma once

#include "engine/nn/layers.h"

namespace gannet::nn {

// As ops::batch_norm, of mode.groups groups, each of which is spread evenly over mode.ranks ranks. One reduction of two numbers
// for each channel and group forward, and one in the derivative.
ops::BatchNormResult synchronised_batch_norm(Value x, Value gamma, Value beta, float epsilon, const Activation& activation,
                                             const Mode& mode, const ops::RunningStatistics& running, Where where);

}  // namespace gannet::nn
