"""The layers that models are made of: front end, masks, quantizer, Conformer encoder, adapters, transducer."""
