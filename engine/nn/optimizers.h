// A player's update: its gradients, its optimizer's state and its moving average, as variables of the graph.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/train/config.h"

namespace gannet::nn {

// One update of `parameters` down the gradient of loss, by the configuration's section PLAYER_optimizer. State is kept under
// "optimizer.PARAMETER.MOMENT" and "optimizer.PLAYER.step", as torch.optim names it. Reading a parameter afterwards gives the
// updated one. Adds the output "nonfinite.PLAYER". With several ranks the gradient is the mean of theirs.
void update_player(Graph& graph, const Config& config, const std::string& player, std::span<const Variable> parameters,
                   Value loss, Value learning_rate, int ranks = 1);

// "ema.NAME" = decay * "ema.NAME" + (1 - decay) * NAME for every parameter; the averages' start is the trainer's matter (a
// copy). "ema.NAME" = NAME for running statistics, which are averages already: averaged again they would lag behind the
// weights, and the first samples would be grey.
void update_average(Graph& graph, float decay, std::span<const Variable> parameters, std::span<const Variable> statistics);

}  // namespace gannet::nn
