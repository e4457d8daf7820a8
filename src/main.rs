fn main(){ print!("{}", stepgate::cli::crds::stream().unwrap()); }
