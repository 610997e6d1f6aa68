// The passes of the compiler, in their order. Each takes the Ir and leaves one that can still run.
#pragma once

#include "compiler/program.h"

namespace tesserae {

// Graph → forward calls for the request's mode and capacity: to train, evaluate, prefill or decode.
void lower(Ir& ir, const ProgramRequest& request);

// The update Program: norm, clipping, optimizer, counters.
void lowerUpdate(Ir& ir, const UpdateRequest& request);

// What a sampler keeps of its rows: the same places in all its Programs, since sizes depend on rows, cache
// and features alone and what only some features need comes last.
void makeSession(Ir& ir, int64_t rows, int64_t cache, const SamplingFeatures& features = {});

// The Program that chooses the next token of each row from the logits of a prefill or decode Program.
void lowerChoose(Ir& ir, const ChooseRequest& request);

// Appends the backward calls of a training Program.
void differentiate(Ir& ir, const TrainRequest& request);

// Moves pieces into the calls before or after them whose contracts take them.
void rewrite(Ir& ir);

// Adds the calls that add up gradients and losses over `world` ranks, each after the last call that writes
// what it adds up.
void distribute(Ir& ir, int64_t world, Strategy strategy);

// Removes calls that nothing needs and marks unused optional outputs absent.
void removeDeadNodes(Ir& ir);

// A stable order in which every value is written before it is read, State hazards included.
void schedule(Ir& ir);

// Moves outputs that are pieces, such as the column sums of a gradient, to the calls that make what they are
// computed from, where those take the piece.
void moveOutputs(Ir& ir);

// Decides which writes of gradients and of the loss store and which add.
void assignWrites(Ir& ir);

// Chooses the kernel of each call, then gives each value of Inputs, Outputs and Workspace its place by
// lifetime; fills the Program.
Program planMemory(const Ir& ir, const ProgramRequest& request);

}  // namespace tesserae
